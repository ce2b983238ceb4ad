"""What a robot's model offers for a task: which joints move it, what drives them, where its tool may be."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import mujoco
import numpy as np

from sim2real.errors import ShoalError
from sim2real.robots.actuation import joint_actuators, tendon_actuators
from sim2real.robots.coordinates import actuator_name, it_has, read_coordinate

_MOVABLE = (int(mujoco.mjtJoint.mjJNT_HINGE), int(mujoco.mjtJoint.mjJNT_SLIDE))
_FREE = int(mujoco.mjtJoint.mjJNT_FREE)
_UPWARD = 0.9
"""Least share of a plane's normal that points up, of what one can stand on."""
_TOOL_NAMES = re.compile(
    r"(^|[_/\-.])(tcp|tool\w*|ee|eef|end_?effector|grip_?site|grasp\w*|pinch|attachment_site|fingertip|tip|palm|hand)"
    r"($|[_/\-.\d])",
    re.IGNORECASE,
)

_SIDES = re.compile(r"left|right|(?<![a-z])[lr](?![a-z])", re.IGNORECASE)
_OTHER = {"left": "right", "right": "left", "l": "r", "r": "l"}
_STILL = 1e-6
"""m per rad or m, below which a joint does not move a place."""
_ARM_JOINTS = 5
"""Joints of its own that make a further arm; a finger has fewer."""


@dataclass(frozen=True)
class Mover:
    """A joint, or a tendon, that a task can command."""

    name: str
    joints: tuple[int, ...]
    """Ids of the joints that it moves."""
    drive: str
    """Why it needs a declared servo, in words; empty where its own is a position servo that a contract can state."""


class Inspection:
    """What was found in one compiled model."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self.model = model

    @cached_property
    def movers(self) -> list[Mover]:
        """All that can be commanded, in the model's order: whatever is driven, and joints that nothing drives but that
        follow no other joint.
        """
        model, found, taken = self.model, [], set[int]()
        for tendon in range(model.ntendon):
            coordinate, said = read_coordinate(model, model.tendon(tendon).name)
            if coordinate is not None and tendon_actuators(model, tendon):
                joints = tuple(int(model.dof_jntid[dof]) for dof in coordinate.dof)
                if not any(joint_actuators(model, joint) for joint in joints):
                    found.append(Mover(coordinate.name, joints, _reason(said, coordinate.actuation.mode)))
                    taken.update(joints)
        for joint in range(model.njnt):
            left = int(model.jnt_type[joint]) in _MOVABLE and joint not in taken and joint not in self.followers
            if left and int(model.jnt_bodyid[joint]) not in self.objects:
                found.append(Mover(model.joint(joint).name, (joint,), self._drive(joint)))
        return sorted(found, key=lambda mover: mover.joints[0])

    def _drive(self, joint: int) -> str:
        model = self.model
        drives = joint_actuators(model, joint)
        if not drives:
            return "nothing drives it"
        if len(drives) > 1:
            return f"{len(drives)} actuators drive it ({', '.join(actuator_name(model, i) for i in drives)})"
        coordinate, said = read_coordinate(model, model.joint(joint).name)
        return _reason(said, None if coordinate is None else coordinate.actuation.mode)

    def is_driven(self, mover: Mover) -> bool:
        """Whether the MJCF has an actuator for it."""
        return mover.drive != "nothing drives it"

    @cached_property
    def followers(self) -> set[int]:
        """Joints that an equality makes follow another joint."""
        model = self.model
        return {
            int(model.eq_obj1id[i])
            for i in range(model.neq)
            if model.eq_type[i] == mujoco.mjtEq.mjEQ_JOINT and model.eq_active0[i] and model.eq_obj2id[i] >= 0
        }

    @cached_property
    def objects(self) -> set[int]:
        """Bodies that only lie or slide in the world: nothing drives a joint of their tree, and it ends with them."""
        model = self.model
        driven = {int(model.jnt_bodyid[j]) for j in range(model.njnt) if joint_actuators(model, j)}
        at_site = model.actuator_trntype == mujoco.mjtTrn.mjTRN_SITE
        driven |= {int(body) for body in model.site_bodyid[model.actuator_trnid[at_site, 0]]}
        trees = {root: np.flatnonzero(model.body_rootid == root).tolist() for root in range(1, model.nbody)}
        jointed = {root: [body for body in tree if model.body_jntnum[body]] for root, tree in trees.items()}
        # Where nothing is driven, the robot is what has several bodies in motion.
        known = model.nactuator or any(len(bodies) > 1 for bodies in jointed.values())
        loose = [root for root, tree in trees.items() if jointed[root] == [root] and not driven & set(tree)]
        return {body for root in loose for body in trees[root]} if known else set()

    @cached_property
    def floating(self) -> int | None:
        """The body of the robot that hangs on a free joint, with most joints behind it; None where none does."""
        above = [self._bodies_above(int(body)) for body in self.model.jnt_bodyid]
        counts = {root: sum(root in bodies for bodies in above) for root in self.afloat}
        return max(counts, key=counts.__getitem__) if any(count > 1 for count in counts.values()) else None

    @property
    def afloat(self) -> list[int]:
        """Bodies of the robot on free joints, whatever hangs on them."""
        model = self.model
        free = np.flatnonzero(model.jnt_type == _FREE)
        return [int(body) for body in model.jnt_bodyid[free] if int(body) not in self.objects]

    def _bodies_above(self, body: int) -> list[int]:
        found = [body]
        while body:
            body = int(self.model.body_parentid[body])
            found.append(body)
        return found

    def belongs_to(self, mover: Mover, root: int) -> bool:
        """Whether all that it moves hangs on a body."""
        return all(root in self._bodies_above(int(self.model.jnt_bodyid[joint])) for joint in mover.joints)

    def chain(self, body: int) -> list[int]:
        """Ids of the joints between the world and a body, its own included, from the base on."""
        model, found = self.model, list[int]()
        while body:
            first = int(model.body_jntadr[body])
            found = [*range(first, first + int(model.body_jntnum[body])), *found] if first >= 0 else found
            body = int(model.body_parentid[body])
        return found

    def body_of(self, tool: str) -> int:
        """The body of a site or body by name; `ShoalError` where there is none."""
        model = self.model
        site = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SITE, tool)
        if site >= 0:
            return int(model.site_bodyid[site])
        body = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, tool)
        if body <= 0:
            names = [model.site(i).name for i in range(model.nsite)] + [
                model.body(i).name for i in range(1, model.nbody)
            ]
            raise ShoalError(f"--tool: the model has no site or body {tool!r}; {it_has(names, tool)}.")
        return int(body)

    def tool(self) -> str | None:
        """The most likely tool: named like one, far out on the longest chain, a site before a body."""
        model = self.model
        movable = {mover.joints[0] for mover in self.movers if len(mover.joints) == 1}
        data = self.bent
        candidates = [(model.site(i).name, int(model.site_bodyid[i]), 1) for i in range(model.nsite)]
        candidates += [(model.body(i).name, i, 0) for i in range(1, model.nbody) if i not in self.objects]

        def place(name: str, body: int, site: int) -> np.ndarray:
            return np.array(data.site(name).xpos if site else data.xpos[body])

        def rank(candidate: tuple[str, int, int]) -> tuple[bool, int, int, int, float]:
            (name, body, site), arm = candidate, self._arm(candidate[1])
            out = float(np.linalg.norm(place(*candidate) - data.xanchor[arm[-1]]))
            return bool(_TOOL_NAMES.search(name)), len(movable & set(arm)), site, -body, round(out, 6)

        named = [candidate for candidate in candidates if candidate[0] and movable & set(self._arm(candidate[1]))]
        named = [candidate for candidate in named if self._moves(place(*candidate), candidate[1])] or named
        plain = [candidate for candidate in named if set(self.chain(candidate[1])) <= movable]
        named = plain or named
        return max(named, key=rank)[0] if named else None

    def tools(self) -> list[str]:
        """The most likely tool, and those of further arms: named like a tool or as the first one's other side, with
        joints of their own.
        """
        first = self.tool()
        if first is None:
            return []
        model, found, taken = self.model, [first], self._own(first)
        needed = max(_ARM_JOINTS, len(taken) // 2)
        names = [model.site(i).name for i in range(model.nsite)] + [model.body(i).name for i in range(1, model.nbody)]
        other_sides = {_mirrored(first), *map(_mirrored, self._at_body_of(first))}
        likely = sorted(
            (name for name in names if name and (name in other_sides or _TOOL_NAMES.search(name))),
            key=lambda name: (name != _mirrored(first), name not in other_sides, -len(self._own(name) - taken)),
        )
        for name in likely:
            own = self._own(name) - taken
            if len(own) >= needed and self._is_plain(name):
                found.append(name)
                taken |= own
        return found

    def _own(self, tool: str) -> set[int]:
        """Joints that can be commanded and move a tool."""
        movable = {mover.joints[0] for mover in self.movers if len(mover.joints) == 1}
        return movable & set(self._arm(self.body_of(tool)))

    def _is_plain(self, tool: str) -> bool:
        """Whether all joints that move it can be commanded."""
        return {joint for mover in self.movers for joint in mover.joints} >= set(self.chain(self.body_of(tool)))

    def _at_body_of(self, tool: str) -> list[str]:
        """Names of the body of a tool and of all sites there."""
        model, body = self.model, self.body_of(tool)
        return [
            model.body(body).name,
            *(model.site(i).name for i in range(model.nsite) if model.site_bodyid[i] == body),
        ]

    def _arm(self, body: int) -> list[int]:
        """The chain; none where it ends in a finger: a slide on a link that carries another body on a slide."""
        chain = self.chain(body)
        return [] if len(chain) > 2 and len(self._slides_beside(chain[-1])) > 1 else chain

    def _slides_beside(self, joint: int) -> list[int]:
        """A joint and all others on its link, where they are slides, one for each body that they carry."""
        model = self.model
        links = model.body_weldid[model.body_parentid[model.jnt_bodyid]]
        slides = (model.jnt_type == mujoco.mjtJoint.mjJNT_SLIDE) & (links == links[joint])
        slides &= (model.jnt_bodyid != model.jnt_bodyid[joint]) | (np.arange(model.njnt) == joint)
        return np.flatnonzero(slides).tolist() if slides[joint] else []

    @cached_property
    def bent(self) -> mujoco.MjData:
        """Every hinge and slide away from where the file has it, so that nothing lies on an axis by chance."""
        model, data = self.model, mujoco.MjData(self.model)
        movable = np.flatnonzero(np.isin(model.jnt_type, _MOVABLE))
        data.qpos[model.jnt_qposadr[movable]] += np.linspace(0.1, 0.2, len(movable))
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        return data

    def _moves(self, place: np.ndarray, body: int) -> bool:
        """Whether any joint moves a place `[3]` m on a body."""
        jacobian = np.zeros((3, self.model.nv))
        mujoco.mj_jac(self.model, self.bent, jacobian, None, place, body)
        return bool(np.abs(jacobian).max(initial=0.0) > _STILL)


def _mirrored(name: str) -> str:
    """The name of the same on the other side; the name itself where it has no side."""

    def other(match: re.Match[str]) -> str:
        side = match[0]
        found = _OTHER[side.lower()]
        return found.upper() if side.isupper() else found.capitalize() if side[0].isupper() else found

    return _SIDES.sub(other, name)


def ground(model: mujoco.MjModel) -> int | None:
    """The highest plane of the world that faces up, as a geom, else its terrain; walls are neither."""
    kinds, found = (int(mujoco.mjtGeom.mjGEOM_PLANE), int(mujoco.mjtGeom.mjGEOM_HFIELD)), []
    up, turn = np.array([0.0, 0.0, 1.0]), np.zeros(3)
    for geom in range(model.ngeom):
        mujoco.mju_rotVecQuat(turn, up, model.geom_quat[geom])
        if int(model.geom_type[geom]) in kinds and not model.geom_bodyid[geom] and turn[2] > _UPWARD:
            found.append(geom)
    flat = mujoco.mjtGeom.mjGEOM_PLANE
    return max(found, key=lambda geom: (model.geom_type[geom] == flat, float(model.geom_pos[geom, 2])), default=None)


def _reason(said: Sequence[str], mode: str | None) -> str:
    if mode == "position" and not said:
        return ""
    told = {"velocity": "its actuator is told velocities", "effort": "its actuator is a motor"}
    return (
        said[0] if said and mode not in told else told.get(mode or "", "a contract cannot say what its actuator does")
    )
