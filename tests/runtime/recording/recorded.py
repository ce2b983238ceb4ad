"""A recording of a simulated robot that has everything happen to it: faults, goals, a restart, an emergency stop."""

from __future__ import annotations

import math
import time
from pathlib import Path

from runtime.control.loop import Loop
from runtime.control.policy_controller import PolicyController
from runtime.control.telemetry import Telemetry
from runtime.drivers.base import Driver, DriverOptions
from runtime.drivers.mujoco import MujocoDriver
from runtime.goals.messages import GoalPose
from runtime.goals.resolve import validate_goal
from runtime.inference.policy import Policy
from runtime.ipc.telemetry_ring import Ring
from runtime.recording.writer import Recorder
from runtime.robot.model import find_model
from runtime.robot.readings import Readings
from runtime.safety import SafetyConfig
from runtime.safety.geometry import geometry_checker_for
from runtime.status import Reason

FACTS = {"safety": SafetyConfig().model_dump_json(), "geometry": "on"}


class Faulty(MujocoDriver):
    """Readings that are not numbers, and a clock that stands still, for a few ticks each."""

    count = 0

    def read(self, out: Readings) -> None:
        super().read(out)
        self.count += 1
        if 20 <= self.count < 24:
            out.joint_position[2] = math.nan
        if 30 <= self.count < 33:
            out.joint_velocity[:] = math.inf
        if 40 <= self.count < 48:
            out.time_s = 0.0


class Script:
    """An exchange with goals, a cancellation and a restart at fixed ticks."""

    def __init__(self) -> None:
        self.tick = 0

    def before_tick(self, core: PolicyController, driver: Driver) -> None:
        self.tick += 1
        now_s = driver.now_s()
        if self.tick in (3, 50):
            goal = GoalPose(position=(0.45, 0.1 - 0.004 * self.tick, 0.45), timeout_s=1.0, id=f"goal-{self.tick}")
            core.set_goal(validate_goal(core.contract, goal, time.time()), number=self.tick, now_s=now_s)
        elif self.tick == 90:
            core.cancel_goal(number=self.tick)
        elif self.tick == 60:
            core.restart(now_s)
        elif self.tick == 70:
            core.estop()
        elif self.tick == 76:
            core.release()
        elif self.tick == 95:
            core.impose(Reason.OVERRUNS)

    def after_tick(self, core: PolicyController, missed_periods: int) -> None:
        pass


def checked_core(policy: Policy) -> PolicyController:
    """With the geometry, as it is served."""
    return PolicyController(
        policy, geometry_checker=geometry_checker_for(find_model(policy.contract), policy.contract, SafetyConfig())
    )


def record(policy: Policy, path: Path, *, ticks: int = 100, close: bool = True) -> PolicyController:
    """Run a faulty simulation through a loop, its telemetry into a file."""
    ring = Ring.create(policy.contract)
    core, script = checked_core(policy), Script()
    driver = Faulty(policy.contract, DriverOptions(speed=0))
    Loop(driver, core, script, telemetry=Telemetry(ring, core)).run(lambda: script.tick >= ticks)
    core.stop()
    recorder = Recorder(path, policy.contract, FACTS | {"engine": policy.engine})
    recorder.write(ring.drain())
    if close:
        recorder.close()
    ring.close()
    return core
