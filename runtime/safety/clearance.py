"""A first look at a path: is the robot certainly inside its box and clear of itself?

MuJoCo's own answer takes longer than the policy and the rest of the safety layer together. So capsules that enclose the
geoms are placed by `clearance.c` in a microsecond, and only a path that they do not clear goes to MuJoCo, which alone
may refuse. What the look clears, MuJoCo allows: commands are the same with it and without it. The same chain of frames
says where the joints put the tool, in a sixth of MuJoCo's time.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from runtime.native.build import Unsupported, compile_library, load_library
from runtime.robot.readings import Float64
from runtime.safety.geometry_checker import Pose
from runtime.safety.limits import Path
from sim2real.robots.kinematics import Addresses

_SPARE_M = 1e-6
"""Further away than asked for, so that rounding cannot clear what MuJoCo would refuse."""
_AGREEMENT_M = 1e-9
_LONGEST_PATH = 64
"""Postures; longer ones go to MuJoCo at once."""
_CHECKED_POSTURES = 64
_MOST = 128
"""Frames and capsules; as in clearance.c."""
_FIXED, _HINGE, _SLIDE = range(3)
_POSE = np.dtype([("position", "f8", 3), ("rotation", "f8", 9)])
_FRAME = np.dtype(
    [(name, "i8") for name in ("parent", "motion", "joint")]
    + [("in_parent", _POSE), ("axis", "f8", 3), ("at_zero", "f8")]
)
_CAPSULE = np.dtype([("frame", "i8"), ("centre", "f8", 3), ("half", "f8", 3), ("length", "f8"), ("radius", "f8")])
_PAIR = np.dtype([("first", "i8"), ("second", "i8")])
_ROBOT = np.dtype(
    [(name, "i8") for name in ("joints", "frames", "capsules", "pairs", "tool_frame")]
    + [("tool", "f8", 3), ("tool_rotation", "f8", 9), ("low", "f8", 3), ("high", "f8", 3)]
    + [("kept", "f8"), ("spare", "f8")]
)


@lru_cache(maxsize=1)
def load() -> ctypes.PyDLL:
    """The library of `clearance.c`, compiled now or found in the cache. Raises `Unsupported` with the reason."""
    library = load_library(compile_library(resources.files("runtime.safety").joinpath("clearance.c").read_text()))
    library.shoal_clear.argtypes = (ctypes.c_void_p, ctypes.c_int64)
    library.shoal_clear.restype = ctypes.c_int
    library.shoal_tool.argtypes, library.shoal_tool.restype = (ctypes.c_void_p,), None
    library.shoal_points.argtypes, library.shoal_points.restype = (ctypes.c_void_p,) * 2, None
    return library


def make_first_look(
    model: mujoco.MjModel,
    addresses: Addresses,
    pairs: list[tuple[int, int]],
    *,
    kept_m: float,
    workspace: tuple[tuple[float, float, float], tuple[float, float, float]] | None,
) -> FirstLook:
    """A first look for the contract's joints in `model`, the others at `qpos0`; `pairs` of geoms stay `kept_m` apart.

    Compared with MuJoCo's kinematics before it is given out. Raises `Unsupported` with the reason.
    """
    if addresses.has_tendons:
        raise Unsupported("a tendon moves several of its joints")
    if addresses.site is None:
        raise Unsupported("the contract has no tool")
    frames, body_frame = _frames(model, addresses)
    geoms = sorted({geom for pair in pairs for geom in pair})
    capsules = _capsules(model, geoms, body_frame)
    place_of = {geom: place for place, geom in enumerate(geoms)}
    table = np.array([(place_of[a], place_of[b]) for a, b in pairs], _PAIR)
    if max(len(frames), len(capsules)) > _MOST:
        raise Unsupported(f"the robot has more than {_MOST} frames or geoms")
    robot = np.zeros((), _ROBOT)
    robot["joints"], robot["frames"] = len(addresses.qpos), len(frames)
    robot["capsules"], robot["pairs"] = len(capsules), len(table)
    robot["tool_frame"], robot["tool"] = body_frame[addresses.body], model.site_pos[addresses.site]
    robot["tool_rotation"] = _rotation(model.site_quat[addresses.site]).ravel()
    robot["low"], robot["high"] = workspace or (-np.inf, np.inf)
    robot["kept"], robot["spare"] = kept_m, _SPARE_M
    look = FirstLook([robot, frames, capsules, table])
    _require_agreement(look, model, addresses, geoms)
    return look


class FirstLook:
    """Whether all postures of a path are certainly allowed."""

    def __init__(self, arrays: list[NDArray[Any]]) -> None:
        joints = int(arrays[0]["joints"])
        self._postures, self._tool = np.zeros((_LONGEST_PATH, joints)), np.zeros(7)
        # The compiled code knows addresses only, so whoever holds one must hold the memory too.
        self._arrays = [*arrays, self._postures, self._tool]
        self._tables = (ctypes.c_void_p * len(self._arrays))(*(array.ctypes.data for array in self._arrays))
        self.address = ctypes.c_void_p(ctypes.addressof(self._tables))
        """Of the structure `look` in clearance.c."""
        self._memory = memoryview(self._postures.data).cast("B")
        self._pack = struct.Struct(f"{joints}d").pack_into
        """For a single posture, in a quarter of the time that NumPy takes."""
        library = load()
        self._clear, self._place_tool = library.shoal_clear, library.shoal_tool

    def __call__(self, path: Path) -> bool:
        """`path` holds positions `[P, J]` rad."""
        count = len(path)
        if count > _LONGEST_PATH:
            return False
        if count == 1:
            self._pack(self._memory, 0, *path[0])
        else:
            self._postures[:count] = path
        return bool(self._clear(self.address, count))

    def tool_pose(self, joints: Sequence[float] | Float64) -> Pose:
        """Where joint positions `[J]` rad put the tool."""
        self._pack(self._memory, 0, *joints)
        self._place_tool(self.address)
        pose: Pose = self._tool.tolist()
        return pose


def _frames(model: mujoco.MjModel, addresses: Addresses) -> tuple[NDArray[Any], dict[int, int]]:
    """Every body as one frame or more, parents first, and the last frame of each body.

    A joint turns about its anchor, so a joint that is not at its body's origin takes a frame there and one back.
    """
    policy_joint = {int(address): place for place, address in enumerate(addresses.qpos)}
    rows: list[Any] = []
    last = {0: -1}

    def add(parent: int, position: Any, rotation: Any, joint: int | None = None) -> int:
        moves = joint is not None and int(model.jnt_qposadr[joint]) in policy_joint
        motion, place, axis, zero = _FIXED, 0, np.zeros(3), 0.0
        if moves:
            address = int(model.jnt_qposadr[joint])
            motion = _HINGE if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_HINGE else _SLIDE
            place, axis, zero = policy_joint[address], model.jnt_axis[joint], float(model.qpos0[address])
        rows.append((parent, motion, place, (position, np.ravel(rotation)), axis, zero))
        return len(rows) - 1

    for body in range(1, model.nbody):
        first = int(model.body_jntadr[body])
        joints = range(first, first + int(model.body_jntnum[body]))
        at_origin = len(joints) == 1 and not model.jnt_pos[first].any()
        parent, rotation = last[int(model.body_parentid[body])], _rotation(model.body_quat[body])
        frame = add(parent, model.body_pos[body], rotation, first if at_origin else None)
        for joint in () if at_origin else joints:
            anchor = model.jnt_pos[joint]
            frame = add(frame, anchor, np.eye(3), joint)
            frame = add(frame, -anchor, np.eye(3))
        last[body] = frame
    world = add(-1, np.zeros(3), np.eye(3))
    last[0] = world
    return np.array(rows, _FRAME), last


def _capsules(model: mujoco.MjModel, geoms: list[int], body_frame: dict[int, int]) -> NDArray[Any]:
    rows: list[Any] = []
    for geom in geoms:
        half, radius = _enclosing(model, geom)
        length = float(np.linalg.norm(half))
        in_body = _rotation(model.geom_quat[geom]) @ half
        rows.append((body_frame[int(model.geom_bodyid[geom])], model.geom_pos[geom], in_body, length, radius))
    return np.array(rows, _CAPSULE)


def _enclosing(model: mujoco.MjModel, geom: int) -> tuple[NDArray[np.float64], float]:
    """Half axis `[3]` m in the geom's frame and radius, m, of a capsule that holds all of the geom."""
    kind, size = mujoco.mjtGeom(int(model.geom_type[geom])), model.geom_size[geom]
    if kind in (mujoco.mjtGeom.mjGEOM_CAPSULE, mujoco.mjtGeom.mjGEOM_CYLINDER):
        return np.array([0.0, 0.0, size[1]]), float(size[0])
    if kind is mujoco.mjtGeom.mjGEOM_BOX:
        longest = int(np.argmax(size))
        return np.eye(3)[longest] * size[longest], float(np.linalg.norm(np.delete(size, longest)))
    return np.zeros(3), float(model.geom_rbound[geom])


def _rotation(quaternion: Any) -> NDArray[np.float64]:
    matrix = np.zeros(9)
    mujoco.mju_quat2Mat(matrix, quaternion)
    return matrix.reshape(3, 3)


def _require_agreement(look: FirstLook, model: mujoco.MjModel, addresses: Addresses, geoms: list[int]) -> None:
    points_of = load().shoal_points
    data, points, turn = addresses.home_data(model), np.zeros((2 * len(geoms), 3)), np.zeros(4)
    rng = np.random.default_rng(0)
    for _ in range(_CHECKED_POSTURES):
        joints = model.qpos0[addresses.qpos] + rng.uniform(-3, 3, len(addresses.qpos))
        data.qpos[addresses.qpos] = joints
        mujoco.mj_kinematics(model, data)
        place, found_turn = np.split(np.array(look.tool_pose(joints)), [3])
        points_of(look.address, points.ctypes.data)
        mujoco.mju_mat2Quat(turn, data.site_xmat[addresses.site])
        # Both signs of a quaternion are one rotation.
        errors = [place - data.site_xpos[addresses.site], found_turn - np.sign(np.dot(turn, found_turn)) * turn]
        for geom, ends in zip(geoms, points.reshape(-1, 2, 3), strict=True):
            half = data.geom_xmat[geom].reshape(3, 3) @ _enclosing(model, geom)[0]
            errors += [*(ends - data.geom_xpos[geom] + [half, -half])]
        error = float(np.abs(np.concatenate(errors)).max())
        if not error <= _AGREEMENT_M:
            raise Unsupported(f"it places the robot {error:.1e} m away from where MuJoCo does")
