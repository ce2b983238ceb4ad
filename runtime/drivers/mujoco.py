"""A simulated robot: C MuJoCo with the MJCF that the policy was trained on.

Simulated time follows wall time times `speed`, in whole control periods: when the loop misses periods, the
robot meanwhile holds its last target, as a real one does. Speed 0 advances one period per tick, as fast as it
can. Within a period the servo targets move linearly, one increment per physics step, as in training.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import mujoco
import numpy as np

from runtime.drivers.base import DriverOptions
from runtime.drivers.pace import Pace
from runtime.drivers.video import Video
from runtime.drivers.viewer import Viewer
from runtime.goals import ResolvedGoal
from runtime.mujoco_robot import MujocoRobot, interpolate, require_rate, robot_differences
from runtime.safety import Float64, Readings
from sim2real.contract import Contract
from sim2real.errors import ContractMismatch, ShoalError
from sim2real.model import DIGEST_FIELDS, compiled_digest, load_mjcf

_GOAL_BODY = "goal"


class MujocoDriver:
    """See `runtime.drivers.base.Driver`. Starts at the contract's home."""

    def __init__(self, contract: Contract, options: DriverOptions) -> None:
        self._pace = Pace(options.speed, contract.timing.control_dt_s)
        path = options.mjcf or shipped_mjcf(contract.robot.name)
        self.model = load_mjcf(path)
        require_same_model(self.model, contract, path)
        self.model.opt.timestep = contract.timing.physics_dt_s
        self._substeps = require_rate(self.model.opt.timestep, contract)
        self._robot = MujocoRobot(self.model, contract)
        self.data = mujoco.MjData(self.model)
        home = np.array([joint.home_rad for joint in contract.robot.joints])
        self.data.qpos[self._robot.addresses.qpos] = home
        self.data.ctrl[self._robot.actuators] = home
        self.joint_names = contract.joint_names
        self.owns_clock, self.period_s = self._pace.owns_clock, self._pace.period_s
        self.description = f"mujoco {mujoco.__version__}, {path.name}, {self._pace.description}"
        self._previous, self._target, self._between = home.copy(), home.copy(), home.copy()
        self._goal_mocap = _mocap_of(self.model, _GOAL_BODY)
        self._viewer = Viewer(mjcf=path, model=self.model, wait=self.owns_clock) if options.viewer else None
        self._video: Video | None = None
        if options.video is not None:
            self._video = Video(
                options.video, mjcf=path, model=self.model, period_s=self.period_s, wait=self.owns_clock
            )

    def read(self, out: Readings) -> None:
        """Advance to the present, then measure."""
        for _ in range(self._pace.due_periods()):
            self._advance_period()
        self._robot.read(self.data, out)
        self._robot.read_simulated(self.data, out)
        for onlooker in (self._viewer, self._video):
            if onlooker is not None:
                onlooker.add(self.data)

    def write(self, command: Float64) -> None:
        """Targets `[J]` rad for the coming control period."""
        self._previous[:] = self._target
        self._target[:] = command

    def now_s(self) -> float:
        """Simulated time."""
        return float(self.data.time)

    def show_goal(self, goal: ResolvedGoal) -> None:
        """Move the mocap body `goal`, where the model has one."""
        if self._goal_mocap >= 0:
            self.data.mocap_pos[self._goal_mocap] = goal.position
            self.data.mocap_quat[self._goal_mocap] = goal.orientation_wxyz

    def close(self) -> None:
        """Complete the video, close the window."""
        for onlooker in (self._viewer, self._video):
            if onlooker is not None:
                onlooker.close()

    def _advance_period(self) -> None:
        actuator = self._robot.actuators
        for step in range(self._substeps):
            interpolate(self._previous, self._target, (step + 1) / self._substeps, self._between)
            self.data.ctrl[actuator] = self._between
            mujoco.mj_step(self.model, self.data)
        np.copyto(self._previous, self._target)


def shipped_mjcf(robot: str) -> Path:
    """The MJCF of a robot that ships with Shoal; raises `ShoalError` for an unknown name."""
    folder = Path(str(resources.files("sim2real"))) / "robots"
    found = sorted((folder / robot).glob("*.xml"))
    if len(found) != 1:
        known = sorted(path.name for path in folder.iterdir() if path.is_dir())
        raise ShoalError(f"robot.name: no MJCF ships for {robot!r} (shipped: {', '.join(known)}); give --mjcf PATH.")
    return found[0]


def require_same_model(model: mujoco.MjModel, contract: Contract, path: Path) -> None:
    """Raise `ContractMismatch` unless the compiled digest is the contract's, naming what differs."""
    digest = compiled_digest(model)
    if digest == contract.robot.mjcf_sha256:
        return
    found = [
        f"{field}: {wanted!r} in the policy, {got!r} in the model"
        for field, wanted, got in robot_differences(model, contract)
    ]
    shown = "; ".join((found or _differences_to_shipped(model, contract))[:6])
    raise ContractMismatch(
        f"robot.mjcf_sha256: {contract.robot.mjcf_sha256[:12]} in the policy, {digest[:12]} in {path.name}"
        f"{': ' + shown if shown else ''}. Serve the MJCF that the policy was trained with."
    )


def _differences_to_shipped(model: mujoco.MjModel, contract: Contract) -> list[str]:
    """Compiled fields in which `model` differs from the shipped MJCF, if that is the one trained with."""
    try:
        shipped = load_mjcf(shipped_mjcf(contract.robot.name))
    except ShoalError:
        return []
    if compiled_digest(shipped) != contract.robot.mjcf_sha256:
        return []
    found = []
    for field in DIGEST_FIELDS:
        wanted, got = np.asarray(getattr(shipped, field)), np.asarray(getattr(model, field))
        if wanted.shape != got.shape:
            found.append(f"{field}: shape {list(wanted.shape)} in the policy, {list(got.shape)} in the model")
        elif not np.array_equal(wanted, got):
            where = tuple(int(i) for i in np.argwhere(wanted != got)[0])
            found.append(
                f"{field}{list(where)}: {float(wanted[where])!r} in the policy, {float(got[where])!r} in the model"
            )
    return found


def _mocap_of(model: mujoco.MjModel, body: str) -> int:
    index = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, body)
    return int(model.body_mocapid[index]) if index >= 0 else -1
