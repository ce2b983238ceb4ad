"""Torque models of drives in `NativeEnvironment`, in the place of the MJCF's position servos."""

from __future__ import annotations

import copy

import mujoco
import mujoco.batch
import numpy as np

from sim2real.actuators.models import Drive
from sim2real.contract import Contract
from sim2real.errors import ShoalError
from sim2real.randomised_robots.sampling import Draws
from sim2real.robots.kinematics import Addresses

_SERVO_TERMS = ("servo_stiffness_scale", "servo_damping_scale", "effort_limit_scale")


def require_own_servos(draws: Draws | None) -> None:
    """Refuse draws that scale the MJCF's servos, which a drive replaces."""
    scaled = [name for name in _SERVO_TERMS if draws is not None and draws.changes(name)]
    if scaled:
        raise ShoalError(
            f"drive: it replaces the servos that {', '.join(scaled)} would scale; leave these terms at 1 and change "
            "the drive itself."
        )


def require_joints(contract: Contract) -> None:
    """Refuse tendons, to which a torque model of joints does not apply."""
    tendons = [joint.name for joint in contract.robot.joints if joint.kind == "tendon"]
    if tendons:
        raise ShoalError(f"drive: {', '.join(tendons)} is a tendon, and torque models are of joints; leave it out.")


def without_servos(model: mujoco.MjModel, addresses: Addresses) -> mujoco.MjModel:
    """A copy whose position servos give no torque."""
    quiet = copy.copy(model)
    quiet.actuator_gainprm[addresses.actuator] = 0
    quiet.actuator_biasprm[addresses.actuator] = 0
    return quiet


class NativeDrive:
    """Computes torque before every physics step. `N` environments, `J` joints, `S` physics steps."""

    def __init__(self, batch: mujoco.batch.Batch, addresses: Addresses, drive: Drive) -> None:
        self._batch, self._addresses, self._drive = batch, addresses, drive
        self._qpos, self._qvel, self._applied = (batch.bind(name) for name in ("qpos", "qvel", "qfrc_applied"))
        self.effort_nm = np.zeros((batch.nsim, len(addresses.dof)))
        """`[N, J]`, torque of the last physics step."""

    def begin(self, ids: np.ndarray) -> None:
        """Drives of environments `ids` give no torque yet."""
        self.effort_nm[ids] = 0

    def advance(self, targets: np.ndarray) -> dict[str, np.ndarray]:
        """Run under targets `[N, S, J]` rad; `qpos` and `qvel` after each physics step, `[N, S, ...]`."""
        a, dt_s = self._addresses, float(self._batch.model.opt.timestep)
        past: dict[str, list[np.ndarray]] = {"qpos": [], "qvel": []}
        for index in range(targets.shape[1]):
            motion = (a.joint_position(self._qpos), a.joint_velocity(self._qvel))
            self.effort_nm = self._drive.step(self.effort_nm, targets[:, index], *motion, dt_s)
            self._applied[:, a.dof] = self.effort_nm
            self._batch.step()
            past["qpos"].append(self._qpos.copy())
            past["qvel"].append(self._qvel.copy())
        return {name: np.stack(rows, axis=1) for name, rows in past.items()}
