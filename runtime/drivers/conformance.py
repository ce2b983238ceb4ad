"""Does a driver keep what `runtime.drivers.base.Driver` promises? Run it before a policy ever moves the robot.

    findings = check(driver, contract, mjcf=Path("my_arm.xml"))       # moves each joint by 0.05 rad and back
    assert_conforms(driver, contract)                                 # the same inside a pytest

**The robot moves**, one joint after the other, by `move_rad` towards the middle of its range, at no more than half of
the contract's velocity limit; keep a hand on the emergency stop. `move_rad=0` checks all that can be checked at
rest. Faults that this finds: joints in another order than their names, wrong signs, degrees, a tool pose of another
frame or with its quaternion as xyzw, readings that never age or come from another clock, arrays replaced instead of
filled, commands kept by reference, a `read` or `write` that blocks.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from runtime.drivers.base import Driver, DriverFailed, JointOrder, require_positions
from runtime.drivers.calls import METHODS, DriverCalls, member_problems
from runtime.goals.messages import ResolvedGoal
from runtime.goals.resolve import middle_goal
from runtime.realtime.cadence import LEAST_ADVANCE
from runtime.robot.layout import Kind, Layout
from runtime.robot.model import load_model
from runtime.robot.mujoco_robot import MujocoRobot
from runtime.robot.readings import Float64, Readings
from runtime.robot.rotations import angle_between_deg
from runtime.safety import SafetyConfig
from runtime.safety.watch import ReadingWatch
from runtime.status import FOLLOWING, Reason
from sim2real.contract import Contract
from sim2real.errors import ContractMismatch, ShoalError

_REST_PERIODS = 10
_MOVE_PERIODS = 10
_SETTLE_PERIODS = 50
_STILL_RAD = 0.02
"""How far a joint may sag or drift while it is told to stay."""
_ARRIVED = 0.5
"""Share of the asked motion after which a joint counts as moved."""
_TOOL_M = 1e-3
_TOOL_DEG = 0.5
_BEYOND_RAD = 0.1
_JUDGED_ELSEWHERE = frozenset(
    {FOLLOWING, Reason.OBJECT_UNKNOWN, Reason.READING_STALE, Reason.READING_FROZEN, Reason.CLOCK_JUMPED}
)
"""What is no fault of a driver at rest: times have findings of their own, and nobody tracks an object here."""


@dataclass(frozen=True)
class Finding:
    """One promise of a driver."""

    promise: str
    problem: str = ""
    """What is wrong, in one sentence; empty when the promise is kept."""

    @property
    def kept(self) -> bool:
        """Whether the driver does what it should."""
        return not self.problem


def check(driver: Driver, contract: Contract, *, mjcf: Path | None = None, move_rad: float = 0.05) -> list[Finding]:
    """A finding for every promise, kept or not. The driver stays open, holding the position in which it began.

    `mjcf` is the robot's model, against which the tool's pose is checked; the one that ships with Shoal if not given,
    and if there is none either the finding says that the pose was not checked. Stops early, with the findings so far,
    when going on makes no sense or would not be safe. Raises `ShoalError` for a `move_rad` outside [0, 0.2].
    """
    if not 0 <= move_rad <= 0.2:
        raise ShoalError(f"move_rad must be between 0 and 0.2, got {move_rad:g}.")
    if move_rad:
        require_positions(contract, "the check of a driver")
    findings = _check_members(driver, contract)
    if not all(finding.kept for finding in findings):
        return findings
    promise = "every method returns, with what it should"
    try:
        return [*findings, Finding(promise), *_check_calls(DriverCalls(driver), contract, mjcf, move_rad)]
    except DriverFailed as failed:
        return [*findings, Finding(promise, str(failed))]


def _check_calls(driver: DriverCalls, contract: Contract, mjcf: Path | None, move_rad: float) -> list[Finding]:
    bench = _Bench(driver, contract)
    findings: list[Finding] = []
    stages: list[Callable[[], list[Finding]]] = [
        partial(_check_readings, bench, contract),
        partial(_check_tool, bench, contract, mjcf),
        partial(_check_rest, bench),
    ]
    if move_rad > 0:
        stages += [partial(_check_joint, bench, contract, joint, move_rad) for joint in range(bench.joints)]
    for stage in stages:
        findings += stage()
        if not all(finding.kept for finding in findings):
            break
    driver.show_goal(_any_goal(contract))
    return [*findings, bench.time_taken()]


def assert_conforms(driver: Driver, contract: Contract, *, mjcf: Path | None = None, move_rad: float = 0.05) -> None:
    """Raise `AssertionError` with a line for every promise that is not kept."""
    broken = [finding for finding in check(driver, contract, mjcf=mjcf, move_rad=move_rad) if not finding.kept]
    assert not broken, "\n".join(f"{finding.promise}: {finding.problem}" for finding in broken)


class _Bench:
    """Runs a driver as the loop does, one control period after the other. Joint arrays in policy order."""

    def __init__(self, driver: DriverCalls, contract: Contract) -> None:
        self.driver, self.names = driver, contract.joint_names
        self.joints = len(self.names)
        self.order = JointOrder(contract.joint_names, driver.joint_names)
        self.readings = Readings.of(contract)
        self.readings.vector[:] = np.nan
        self._speeds = Layout.of(contract).of_kind(Kind.JOINT_VELOCITY)
        self.position, self.velocity = np.zeros(self.joints), np.zeros(self.joints)
        self.start = np.zeros(self.joints)
        """Where the present motion began."""
        self._command = np.zeros(self.joints)
        self._deadline_s = time.perf_counter()
        self._taken_s: list[float] = []
        self._judged, self._watch = Readings.of(contract), ReadingWatch(contract, SafetyConfig())
        self._watch_started = False

    def verdict(self) -> str:
        """What the rules of a server's safety layer find wrong with the readings; empty for nothing."""
        self.order.readings_to_policy(self.readings, self._judged)
        arguments = self._judged, self.driver.now_s(), self.position
        reason = self._watch.check(*arguments, started=self._watch_started, yielding=False)
        self._watch_started = True
        return "" if reason in _JUDGED_ELSEWHERE else f"{reason.told(self._watch.detail)}."

    @property
    def measures_speed(self) -> bool:
        """Whether the contract has a reading of the joints' velocities."""
        return bool(self._speeds)

    def period(self, target: Float64 | None = None) -> None:
        """Read, and command `target` if given; then wait for the next period."""
        driver, started = self.driver, time.perf_counter()
        driver.read(self.readings)
        self.order.to_policy(self.readings.joints, self.position)
        for part in self._speeds:
            self.order.to_policy(self.readings[part.name], self.velocity)
        if target is not None:
            self.order.to_driver(target, self._command)
            driver.write(self._command)
            # A driver that kept a reference instead of a copy then goes nowhere.
            self.order.to_driver(self.start, self._command)
        self._taken_s.append(time.perf_counter() - started)
        if not driver.owns_clock:
            self._wait(target is not None)

    def _wait(self, commanded: bool) -> None:
        period, driver = self.driver.period_s, self.driver
        start = max(self._deadline_s, time.perf_counter() - period)
        self._deadline_s = start + period
        if commanded:
            for step in range(2, driver.servo_steps + 1):
                _sleep_until(start + (step - 1) * period / driver.servo_steps)
                driver.servo(step / driver.servo_steps)
        _sleep_until(self._deadline_s)

    def time_taken(self) -> Finding:
        """Time of read and write together; only a driver that owns the clock may wait."""
        promise = "read and write return within half a period"
        median = float(np.median(self._taken_s))
        if self.driver.owns_clock or median <= 0.5 * self.driver.period_s:
            return Finding(promise)
        return Finding(
            promise,
            f"they take {1e3 * median:.1f} ms of {1e3 * self.driver.period_s:.1f} ms; do the waiting in a thread of "
            "the driver's own, or set owns_clock if read waits for the robot's next period.",
        )


def _check_members(driver: Driver, contract: Contract) -> list[Finding]:
    told = member_problems(driver)
    names = told["joint_names"]
    if not names:
        try:
            JointOrder(contract.joint_names, driver.joint_names)
        except ContractMismatch as error:
            names = str(error)
    promises = {
        "joint_names are the contract's, in any order": names,
        "period_s is a positive time": told["period_s"],
        "owns_clock is a flag": told["owns_clock"],
        "description is one line": told["description"],
        "servo_steps is at least 1": told.get("servo_steps", ""),
        "it has every method": "; ".join(f"{name} {told[name]}" for name in METHODS if name in told),
    }
    return [Finding(promise, problem and f"{problem.rstrip('.')}.") for promise, problem in promises.items()]


def _check_readings(bench: _Bench, contract: Contract) -> list[Finding]:
    out, driver = bench.readings, bench.driver
    ages, stamps, clock = [], [], []
    refused = ""
    for _ in range(_REST_PERIODS):
        bench.period()
        refused = refused or bench.verdict()
        stamps.append(out.time_s)
        clock.append(driver.now_s())
        ages.append(clock[-1] - out.time_s)
    limit = 3 * contract.timing.control_dt_s
    names = list(out.named)
    rotations = [part.name for part in Layout.of(contract).parts if part.kind is Kind.ROTATION]
    unknown = [name for name in names if not np.isfinite(getattr(out, name)).all()]
    lengths = {name: float(np.linalg.norm(getattr(out, name))) for name in rotations}
    wrong = [name for name, length in lengths.items() if not abs(length - 1) < 1e-3]
    return [
        Finding("every reading is finite", f"{', '.join(unknown)} was not filled in." if unknown else ""),
        Finding("joints are within their limits", _outside(bench.position, contract)),
        Finding(
            "every orientation is a unit quaternion",
            f"the length of {wrong[0]} is {lengths[wrong[0]]:g}." if wrong else "",
        ),
        Finding("a server would take the readings", refused),
        Finding("now_s never runs backwards", "" if np.all(np.diff(clock) >= 0) else "it did between two reads."),
        Finding("now_s goes on by a control period from read to read", _too_fast(driver, clock, contract)),
        Finding("time_s moves on", "" if stamps[-1] > stamps[0] else f"it stayed at {stamps[0]:g} s."),
        Finding(
            "time_s is on the clock of now_s, and fresh",
            ""
            if -limit <= min(ages) and sorted(ages)[len(ages) // 2] <= limit
            else f"now_s() - time_s is {min(ages):.3g} to {max(ages):.3g} s; at most {limit:g} s are accepted.",
        ),
    ]


def _too_fast(driver: DriverCalls, clock: list[float], contract: Contract) -> str:
    """What is wrong with the pace of a driver's clock; a server leaves out ticks that come too early by it."""
    period_s = contract.timing.control_dt_s
    mean_s = (clock[-1] - clock[0]) / (len(clock) - 1)
    if mean_s >= LEAST_ADVANCE * period_s:
        return ""
    todo = "let read wait for the robot's next period" if driver.owns_clock else "period_s must be the contract's"
    return f"it goes on by {mean_s:.4g} s, and the control period is {period_s:g} s; {todo}."


def _outside(position: Float64, contract: Contract) -> str:
    for joint, value in zip(contract.robot.joints, position, strict=True):
        if not joint.position_range[0] - _BEYOND_RAD <= value <= joint.position_range[1] + _BEYOND_RAD:
            return (
                f"{joint.name} is at {value:g}, its limits are {joint.position_min:g} to "
                f"{joint.position_max:g} rad; is it in degrees, or is it another joint's?"
            )
    return ""


def _check_tool(bench: _Bench, contract: Contract, mjcf: Path | None) -> list[Finding]:
    promise = "the tool's pose is that of the contract's kinematics"
    tool = Layout.of(contract).tool
    if tool is None:
        return [Finding(f"{promise} (not checked: the contract measures none)")]
    try:
        model = load_model(contract, mjcf)
    except ShoalError as error:
        return [Finding(f"{promise} (not checked: {error})")]
    robot = MujocoRobot(model, contract)
    data = robot.addresses.home_data(model)
    robot.addresses.place(data.qpos, bench.position)
    wanted = robot.tool_pose(data)
    assert wanted is not None
    place, turn = (bench.readings[part.name] for part in tool)
    frame = contract.robot.end_effector_frame
    distance = float(np.linalg.norm(place - wanted[0]))
    angle = angle_between_deg(turn, wanted[1])
    if distance <= _TOOL_M and angle <= _TOOL_DEG:
        return [Finding(promise)]
    return [
        Finding(
            promise,
            f"{1e3 * distance:.1f} mm and {angle:.1f} deg from where the model puts {frame!r} for these joints; check "
            "the joints' order and signs, the tool's frame, and that the quaternion is wxyz.",
        )
    ]


def _check_rest(bench: _Bench) -> list[Finding]:
    start = bench.start = bench.position.copy()
    for _ in range(_REST_PERIODS):
        bench.period(start)
    bench.period()
    moved = np.abs(bench.position - start)
    promise = "told to stay where it is, the robot stays"
    if moved.max() <= _STILL_RAD:
        return [Finding(promise)]
    name = bench.names[int(moved.argmax())]
    return [Finding(promise, f"{name} moved by {moved.max():.3f} rad; are the commands in rad, and in driver order?")]


def _check_joint(bench: _Bench, contract: Contract, index: int, move_rad: float) -> list[Finding]:
    joint, promise = contract.robot.joints[index], f"{bench.names[index]} moves alone, as told, and back"
    restarts = bench.driver.restarts
    start = bench.start = bench.position.copy()
    towards = 1.0 if start[index] < (joint.position_min + joint.position_max) / 2 else -1.0
    target = start.copy()
    target[index] += towards * move_rad
    velocity = _go(bench, contract, start, target, index)
    moved = bench.position - start
    others = np.delete(np.abs(moved), index)
    problem = ""
    if others.size and others.max() > max(_STILL_RAD, 0.5 * move_rad):
        other = np.delete(np.array(bench.names), index)[int(others.argmax())]
        problem = f"{other} moved by {others.max():.3f} rad; is the driver's joint order that of joint_names?"
    elif towards * moved[index] < _ARRIVED * move_rad:
        problem = (
            f"asked for {towards * move_rad:+.3f} rad, it moved by {moved[index]:+.3f} rad; check sign and unit, and "
            "that write copies its argument."
        )
    elif bench.measures_speed and towards * velocity <= 0:
        problem = f"it moved by {moved[index]:+.3f} rad, while joint_velocity said {velocity:+.3f} rad/s."
    _go(bench, contract, target, start, index)
    if not problem and abs(bench.position[index] - start[index]) > _ARRIVED * move_rad:
        problem = f"it did not come back: {bench.position[index] - start[index]:+.3f} rad away."
    if bench.driver.restarts != restarts:
        problem = "the robot left control while it moved."
    return [Finding(promise, problem)]


def _go(bench: _Bench, contract: Contract, start: Float64, target: Float64, index: int) -> float:
    """Move there at half the velocity limits; returns the fastest measured velocity of joint `index`, rad/s."""
    limits = np.array([joint.velocity_max for joint in contract.robot.joints]) * contract.timing.control_dt_s
    periods = max(_MOVE_PERIODS, math.ceil(float((np.abs(target - start) / (0.5 * limits)).max())))
    fastest, arrived = 0.0, 0
    for period in range(1, periods + _SETTLE_PERIODS):
        bench.period(start + min(1.0, period / periods) * (target - start))
        fastest = max(fastest, float(bench.velocity[index]), key=abs)
        arrived = arrived + 1 if abs(bench.position[index] - target[index]) < 0.1 * abs(target - start).max() else 0
        if arrived > 2:
            break
    return fastest


def _any_goal(contract: Contract) -> ResolvedGoal:
    return middle_goal(contract, "conformance")


def _sleep_until(moment_s: float) -> None:
    remaining = moment_s - time.perf_counter()
    if remaining > 0:
        time.sleep(remaining)
