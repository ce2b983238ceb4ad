"""The robot's model, placed as states and odometry say: what a policy reads follows from there, as in training."""

from __future__ import annotations

import math

import numpy as np

from runtime.drivers.base import DriverOptions
from runtime.robot.model import load_model
from runtime.robot.mujoco_robot import MujocoRobot
from runtime.robot.readings import Float64, Readings
from runtime.unitree.odometry import heading
from runtime.unitree.states import LowStates
from sim2real.contract import Contract
from sim2real.errors import ShoalError
from sim2real.terms import Scene
from sim2real.terms.joints import JointEffort

_TOLD = ("encoder", "forward_kinematics", "imu", "odometry")
"""Sources of readings for which states and odometry are enough."""


class Body:
    """A floating base with joints. Raises `ShoalError` for a policy that reads what nothing here tells."""

    def __init__(self, contract: Contract, options: DriverOptions) -> None:
        told = [contract.reading(name) for name in contract.measured.sizes]
        unknown = [
            f"{reading.name!r} (source {reading.source})"
            for reading in told
            if not isinstance(reading, JointEffort) and (reading.source not in _TOLD or reading.stage == "acceleration")
        ]
        if unknown:
            raise ShoalError(
                f"--robot unitree: {', '.join(unknown)} follow from no message that is read here; train the policy "
                "without, or use a driver of your own."
            )
        self.model = load_model(contract, options.mjcf)
        self._robot = MujocoRobot(self.model, contract)
        addresses = self._robot.addresses
        scene = Scene(self.model, contract.robot, addresses.rest_qpos, contract.timing.control_dt_s)
        root = int(self.model.body_rootid[addresses.body])
        joint = scene.free_joint(root)
        if joint is None:
            raise ShoalError(f"--robot unitree: the base {self.model.body(root).name!r} of this robot does not float.")
        self._qpos, self._dof = int(self.model.jnt_qposadr[joint]), int(self.model.jnt_dofadr[joint])
        self._data = addresses.home_data(self.model)
        self.by_odometry = [reading.name for reading in told if reading.source == "odometry"]
        """Readings that nothing else tells."""
        self._turned = 0.0

    def place_base(self, position: Float64, heading_rad: float, states: LowStates) -> None:
        """The base is here, m, and faces there, rad; the inertial unit, which tells the rest of how it is turned, may
        have another way ahead.
        """
        self._data.qpos[self._qpos : self._qpos + 3] = position
        self._turned = heading_rad - heading(states.orientation)

    def read(self, states: LowStates, out: Readings) -> None:
        """Everything but the time, with the base where it was placed last."""
        data, addresses = self._data, self._robot.addresses
        # Turned about the vertical, on top of how the inertial unit has it.
        cos, sin = math.cos(self._turned / 2), math.sin(self._turned / 2)
        w, x, y, z = states.orientation.tolist()
        turned = (cos * w - sin * z, cos * x - sin * y, cos * y + sin * x, cos * z + sin * w)
        data.qpos[self._qpos + 3 : self._qpos + 7] = turned
        # MuJoCo has the rate at which a free joint turns in the body.
        data.qvel[self._dof + 3 : self._dof + 6] = states.angular_velocity
        addresses.place(data.qpos, states.position)
        addresses.place_velocity(data.qvel, states.velocity)
        self._robot.read(data, out)
        self._robot.read_simulated(data, out)
        np.copyto(out.joint_effort, states.effort)


def tilt_deg(turn_wxyz: Float64) -> float:
    """How far a body leans that is turned so."""
    w, x, y, z = turn_wxyz.tolist()
    return math.degrees(math.acos(max(-1.0, min(1.0, 1 - 2 * (x * x + y * y) / (w * w + x * x + y * y + z * z)))))
