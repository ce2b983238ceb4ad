"""Where the robot's links and tool would be, judged with MuJoCo's geometry before the target moves there.

Every accepted step has been checked together with the way on which the target would come to rest after it, so braking
at any later tick stays where it was checked. A step that opens a distance that is already too small, or brings back a
tool that is already outside, is allowed: the robot can always be driven out.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import mujoco
import numpy as np
from numpy.typing import NDArray

from runtime.native.build import Unsupported
from runtime.robot.readings import Float64
from runtime.safety.clearance import FirstLook, make_first_look
from runtime.safety.config import SafetyConfig
from runtime.safety.geometry_checker import Pose
from runtime.safety.limits import Path
from runtime.status import Reason
from sim2real.contract import Contract
from sim2real.robots.kinematics import Addresses

_OPENING_M = 1e-9


class Geometry:
    """A `runtime.safety.GeometryChecker` for the contract's robot in `model`, which may hold more than the robot.

    Joints that the contract does not name stay where they are at home.
    """

    def __init__(self, model: mujoco.MjModel, contract: Contract, config: SafetyConfig) -> None:
        self._model = copy.copy(model)
        self._addresses = Addresses.of(self._model, contract.robot)
        self._data = self._addresses.home_data(self._model)
        self.workspace = None if self._addresses.site is None else config.workspace(contract)
        """Corners of the tool's box, m, world frame; None when the rule is off."""
        self.margin_m = config.self_collision_m
        first, second = self_pairs(self._model, contract) if self.margin_m is not None else _NO_PAIRS
        self.pairs = list(zip(first.tolist(), second.tolist(), strict=True))
        """Geoms whose distance is kept."""
        self._first, self._second = first, second
        spheres = self._model.geom_rbound[first] + self._model.geom_rbound[second] + (self.margin_m or 0.0)
        self._near_squared = spheres**2
        self._between = np.zeros((len(first), 3))
        self._from_to = np.zeros(6)
        self._judges = self.workspace is not None or bool(self.pairs)
        self.look, self.first_look = self._make_first_look() if self._judges else (None, "nothing to look at")
        """What clears most paths; and in words, whether there is one."""
        self._qpos = self._data.qpos
        self.no_tool_pose = _no_tool_pose(self._model, self._addresses, contract)
        """See `GeometryChecker`."""
        site = self._addresses.site or 0  # of a robot without a tool nobody asks
        self._site_position = self._data.site_xpos[site : site + 1].ravel()
        self._site_rotation = self._data.site_xmat[site : site + 1].ravel()
        self._quaternion = np.zeros(4)

    def blocks(self, path: Path, present: list[float]) -> Reason:
        """See `runtime.safety.GeometryChecker`."""
        if not self._judges or (self.look is not None and self.look(path)):
            return Reason.FOLLOWING
        for joints in path:
            self._place(joints)
            outside, distance = self._outside_m(), self._distance_m()
            if outside > 0 or distance < self._kept_m:
                reason = self._compare(outside, distance, present)
                if reason is not Reason.FOLLOWING:
                    return reason
        return Reason.FOLLOWING

    def tool_pose(self, joints: Sequence[float] | Float64) -> Pose:
        """See `runtime.safety.GeometryChecker`."""
        if self.look is not None:
            return self.look.tool_pose(joints)
        self._place(joints)
        mujoco.mju_mat2Quat(self._quaternion, self._site_rotation)
        return [*self._site_position.tolist(), *self._quaternion.tolist()]

    def _make_first_look(self) -> tuple[FirstLook | None, str]:
        kept, box = self._kept_m, self.workspace
        try:
            look = make_first_look(self._model, self._addresses, self.pairs, kept_m=kept, workspace=box)
        except Unsupported as reason:
            return None, f"no compiled first look: {reason}"
        return look, "compiled first look"

    def _compare(self, outside: float, distance: float, present: list[float]) -> Reason:
        """What breaks a rule is allowed when it makes good what is worse at present."""
        self._place(present)
        if outside > max(0.0, self._outside_m() - _OPENING_M):
            return Reason.TOOL_OUTSIDE
        if distance < min(self._kept_m, self._distance_m() + _OPENING_M):
            return Reason.SELF_COLLISION
        return Reason.FOLLOWING

    def distance_m(self, joints: NDArray[np.floating]) -> float:
        """Smallest distance between kept pairs at `joints` `[J]` rad, at most the kept distance; for reports."""
        self._place(joints.tolist())
        return self._distance_m()

    @property
    def _kept_m(self) -> float:
        return 0.0 if self.margin_m is None else self.margin_m

    def _place(self, joints: Sequence[float] | Float64) -> None:
        self._addresses.place(self._qpos, joints)
        mujoco.mj_kinematics(self._model, self._data)

    def _outside_m(self) -> float:
        """How far outside the box the tool is; 0 or less inside."""
        if self.workspace is None:
            return 0.0
        low, high = self.workspace
        tool = self._data.site_xpos[self._addresses.site].tolist()
        return float(max(max(a - x, x - b) for a, x, b in zip(low, tool, high, strict=True)))

    def _distance_m(self) -> float:
        kept = self._kept_m
        if not self.pairs:
            return kept
        centres = self._data.geom_xpos
        np.subtract(centres[self._first], centres[self._second], out=self._between)
        # Bounding spheres rule out most pairs at a tenth of the price.
        near = np.flatnonzero(np.einsum("ij,ij->i", self._between, self._between) < self._near_squared)
        for index in near.tolist():
            first, second = self.pairs[index]
            distance = mujoco.mj_geomDistance(self._model, self._data, first, second, self._kept_m, self._from_to)
            kept = min(kept, float(distance))
        return kept


_NO_PAIRS = (np.zeros(0, np.intp), np.zeros(0, np.intp))


def self_pairs(model: mujoco.MjModel, contract: Contract) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Geoms `[P]` and `[P]` of the robot that can collide with each other and move against each other.

    As MuJoCo decides it: contype and conaffinity, no neighbours, no excluded bodies; planes and height fields, which
    are never part of a robot, are left out.
    """
    moved = {int(model.jnt_bodyid[model.joint(name).id]) for name in contract.joint_names}
    root = int(model.body_rootid[next(iter(moved))])
    weld, parent = model.body_weldid, model.body_parentid
    excluded = {tuple(sorted((s >> 16, s & 0xFFFF))) for s in model.exclude_signature.tolist()}
    solid = [
        g
        for g in range(model.ngeom)
        if model.body_rootid[model.geom_bodyid[g]] == root
        and model.geom_type[g] not in (mujoco.mjtGeom.mjGEOM_PLANE, mujoco.mjtGeom.mjGEOM_HFIELD)
    ]
    found: list[tuple[int, int]] = []
    for place, a in enumerate(solid):
        for b in solid[place + 1 :]:
            first, second = int(model.geom_bodyid[a]), int(model.geom_bodyid[b])
            collide = (model.geom_contype[a] & model.geom_conaffinity[b]) | (
                model.geom_contype[b] & model.geom_conaffinity[a]
            )
            one, other = int(weld[first]), int(weld[second])
            neighbours = one == other or one == int(weld[parent[other]]) or other == int(weld[parent[one]])
            if collide and not neighbours and tuple(sorted((first, second))) not in excluded:
                found.append((a, b))
    pairs = np.array(found, np.intp).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def geometry_checker_for(model: mujoco.MjModel | None, contract: Contract, config: SafetyConfig) -> Geometry | None:
    """The geometry checker, when there is a model."""
    return None if model is None else Geometry(model, contract, config)


def _no_tool_pose(model: mujoco.MjModel, addresses: Addresses, contract: Contract) -> str:
    if addresses.site is None:
        return "the contract has no tool"
    body = addresses.body
    while body:
        for joint in range(model.body_jntadr[body], model.body_jntadr[body] + model.body_jntnum[body]):
            name = model.joint(joint).name
            if name not in contract.joint_names:
                return f"joint {name!r} carries the tool and is no joint of the contract"
        body = int(model.body_parentid[body])
    return ""
