"""A recording of a simulated robot that has everything happen to it: faults, goals, a restart, an emergency stop."""

from __future__ import annotations

import math
import time
from pathlib import Path

from runtime.core import Core
from runtime.drivers.base import Driver, DriverOptions
from runtime.drivers.mujoco import MujocoDriver
from runtime.goals import GoalPose, validate_goal
from runtime.loop import Loop
from runtime.policy import Policy
from runtime.recording.writer import Recorder
from runtime.safety import Readings, SafetyConfig
from runtime.safety.geometry import find_model, guard_for
from runtime.status import Reason
from runtime.telemetry import Ring, Telemetry

FACTS = {"safety": SafetyConfig().model_dump_json(), "guard": "on"}


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

    def before_tick(self, core: Core, driver: Driver) -> None:
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

    def after_tick(self, core: Core, missed_periods: int) -> None:
        pass


def guarded(policy: Policy) -> Core:
    """With the geometry, as it is served."""
    return Core(policy, guard=guard_for(find_model(policy.contract), policy.contract, SafetyConfig()))


def record(policy: Policy, path: Path, *, ticks: int = 100, close: bool = True) -> Core:
    """Run a faulty simulation through a loop, its telemetry into a file."""
    ring = Ring.create(7)
    core, script = guarded(policy), Script()
    driver = Faulty(policy.contract, DriverOptions(speed=0))
    Loop(driver, core, script, telemetry=Telemetry(ring, core)).run(lambda: script.tick >= ticks)
    core.stop()
    recorder = Recorder(path, policy.contract, FACTS | {"engine": policy.engine})
    recorder.write(ring.drain())
    if close:
        recorder.close()
    ring.close()
    return core
