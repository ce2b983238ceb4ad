"""What a snapshot tells of the robot and of the bodies around it, as positions of a MuJoCo model's joints."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

import mujoco
import numpy as np

from runtime.protocol.snapshot import Numbers
from runtime.robot.mujoco_robot import MujocoRobot
from sim2real.contract import Contract, Reading
from sim2real.errors import ShoalError
from sim2real.terms.scene import WORLD
from sim2real.world.objects import ObjectAddresses


class _Told(NamedTuple):
    reading: Reading
    where: ObjectAddresses


class Placing:
    """The contract's joints, and each body that moves freely or slides and of which some reading says the place."""

    def __init__(self, robot: MujocoRobot, contract: Contract) -> None:
        self._addresses, self._joints = robot.addresses, contract.action.measured
        readings = [contract.reading(name) for name in contract.measured.sizes]
        placed = [reading for reading in readings if (reading.axes or reading.turned) and reading.frame == WORLD]
        self._told: list[_Told] = []
        for reading in placed:
            if mujoco.mj_name2id(robot.model, mujoco.mjtObj.mjOBJ_SITE, reading.about) < 0:
                with suppress(ShoalError):  # a body that joints of the robot carry
                    self._told.append(_Told(reading, ObjectAddresses.of(robot.model, reading.about)))

    def put(self, qpos: np.ndarray, readings: Mapping[str, Numbers]) -> bool:
        """Write into `qpos` `[nq]` what is known; False where not all joints are."""
        joints = readings.get(self._joints, ())
        if not joints or None in joints:
            return False
        self._addresses.place(qpos, joints)
        for reading, where in self._told:
            values = [value for value in readings.get(reading.name, ()) if value is not None]
            if len(values) != reading.size:
                continue
            position, turn = reading.to_pose(values)
            if position is not None:
                # What a place on the ground says nothing of stays as it is.
                height = position[2] if reading.axes == 3 or where.height is None else qpos[where.height]
                where.put(qpos, np.array([*position[:2], height]))
            if turn is not None and where.height is not None:
                qpos[where.height + 1 : where.height + 5] = turn
        return True
