"""Faults of time, of the policy's commands, and emergency stops."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from runtime.diagnostics.chaos.rig import FOLLOWS, Rig
from runtime.diagnostics.chaos.scenario import Scenario, Subject, geometry, limited_accelerations
from runtime.robot.readings import Float64, Readings
from runtime.safety import SafetyConfig
from runtime.safety.rules.targets import box_around_goals
from runtime.status import Reason, State
from sim2real.contract import Contract

_HOLD = frozenset({State.HOLD})
_ESTOP = frozenset({State.ESTOP})
_STILL, _LONGEST_REST = 0.02, 200
"""rad/s, and ticks until then: an arm takes 50, what sits down on its legs more."""
_LEAD_S, _MORE_RAD = 0.2, 0.02
"""Time constant with which a drive that is told velocities is led to a posture, and by how much beyond it."""
_FAST = 4.0
"""Speed of the simulation in paced scenarios: a 25 Hz policy then ticks every 10 ms."""


def control_scenarios() -> Iterator[Scenario]:
    """All scenarios of time, commands and emergency stops."""
    yield from _of_time()
    yield from _of_commands()
    yield from _of_emergency_stops()


def _of_time() -> Iterator[Scenario]:
    yield Scenario(
        "slow inference",
        "some inferences take two and a half periods",
        "followed; the late ticks are counted and skipped, the robot keeps its last target meanwhile",
        FOLLOWS,
        run=_slow_inference,
        speed=_FAST,
    )
    yield Scenario(
        "overrun storm",
        "every tick ends late",
        "hold after `overruns_in_a_row`, until as many ticks in a row were on time",
        FOLLOWS,
        _HOLD,
        _overrun_storm,
        SafetyConfig(overruns_in_a_row=5),
        _FAST,
    )
    yield from _of_clocks()
    yield Scenario(
        "goal runs out",
        "the client that sent a goal with `timeout_s` is gone, and no new goal comes",
        "hold",
        _HOLD,
        _HOLD,
        _goal_runs_out,
    )


def _of_clocks() -> Iterator[Scenario]:
    yield Scenario(
        "clock jumps forward",
        "the robot's clock jumps by an hour",
        "hold for one tick, then a ramp-in",
        FOLLOWS,
        _HOLD,
        _clock_jump(3600.0),
    )
    yield Scenario(
        "clock jumps back",
        "the robot's clock jumps back by an hour",
        "hold for one tick, then a ramp-in",
        FOLLOWS,
        _HOLD,
        _clock_jump(-3600.0),
    )
    yield Scenario(
        "clock stands still",
        "the robot's clock stops, and with it the stamps of readings that go on to arrive",
        "hold after `stale_after_periods`, until the clock goes on",
        FOLLOWS,
        _HOLD,
        _clock_stands_still,
        speed=_FAST,
    )


def _of_commands() -> Iterator[Scenario]:
    yield Scenario("command NaN", "the policy answers NaN", "hold", FOLLOWS, _HOLD, _commands(_not_a_number))
    yield Scenario(
        "command jumps",
        "the policy asks for the joint limits, the upper and the lower in turn",
        "clipped to position, velocity and acceleration limits, and counted (`clamped`)",
        FOLLOWS | _HOLD,
        frozenset(),
        _commands(_flapping),
    )
    yield Scenario(
        "command ramp",
        "the same with an acceleration limit of 5 rad/s²",
        "clipped; braking begins early enough to stop at the joint limit",
        FOLLOWS | _HOLD,
        frozenset(),
        _commands(_flapping),
        SafetyConfig(acceleration_max_rad_s2=5.0),
        needs=limited_accelerations,
    )
    yield Scenario(
        "self-collision",
        "the policy folds the arm into itself",
        "hold before two links are closer than `self_collision_m`; followed again when it leads away",
        FOLLOWS,
        _HOLD,
        _into_itself,
        SafetyConfig(workspace_margin_m=None),
        needs=_geometry_of_ways,
    )
    yield Scenario(
        "workspace",
        "the policy leads the tool out of the box",
        "hold before it is outside; followed again when it leads back",
        FOLLOWS,
        _HOLD,
        _out_of_the_box,
        _with_a_box,
        needs=_geometry_of_ways,
    )


def _of_emergency_stops() -> Iterator[Scenario]:
    yield Scenario(
        "emergency stop",
        "an emergency stop in the middle of a motion",
        "estop: the arm yields and comes to rest; goals, stops and good readings change nothing",
        _ESTOP,
        _ESTOP,
        _estop,
    )
    yield Scenario(
        "emergency stop, blind",
        "an emergency stop while the readings are NaN",
        "estop: the target brakes and stays",
        _ESTOP,
        _ESTOP,
        _estop_blind,
    )
    yield Scenario(
        "release",
        "an emergency stop that a person releases",
        "idle where the arm is; the next goal with a ramp-in",
        FOLLOWS,
        _ESTOP | {State.IDLE},
        _release,
    )


@contextmanager
def _instead(rig: Rig, run: Callable[[], None]) -> Iterator[None]:
    """The policy's inference replaced."""
    policy = rig.core.policy
    before = policy.run
    policy.run = run
    try:
        yield
    finally:
        policy.run = before


def _slow_inference(rig: Rig) -> None:
    run, count = rig.core.policy.run, iter(range(10**9))

    def slow() -> None:
        if next(count) % 12 == 0:
            time.sleep(2.5 * rig.driver.period_s)
        run()

    before = rig.loop.statistics.missed_periods
    with _instead(rig, slow):
        rig.run(60)
    rig.require(rig.loop.statistics.missed_periods > before, "no late tick was counted")
    rig.run(40)


def _overrun_storm(rig: Rig) -> None:
    run = rig.core.policy.run

    def slow() -> None:
        time.sleep(1.2 * rig.driver.period_s)
        run()

    with _instead(rig, slow):
        rig.run(12)
    seen = list(rig.states)
    deadline = time.monotonic() + 20
    while rig.state not in FOLLOWS and time.monotonic() < deadline:
        rig.run(10)
    rig.states[:] = seen


def _clock_jump(jump_s: float) -> Callable[[Rig], None]:
    def run(rig: Rig) -> None:
        rig.driver.clock_offset_s += jump_s
        rig.tick(1)
        rig.require(rig.core.safety.reason is Reason.CLOCK_JUMPED, "the jump was not noticed")
        seen = list(rig.states)
        rig.tick(20)
        rig.states[:] = seen

    return run


def _clock_stands_still(rig: Rig) -> None:
    stopped_s = rig.driver.now_s()

    def stamp(out: Readings) -> None:
        out.time_s = stopped_s

    with rig.fault(stamp):
        rig.driver.stopped_s = stopped_s
        rig.run(20)
        rig.require(rig.core.safety.reason is Reason.CLOCK_STANDS_STILL, "nobody noticed")
        rig.driver.stopped_s = None
    seen = list(rig.states)
    rig.run(40)
    rig.states[:] = seen


def _goal_runs_out(rig: Rig) -> None:
    rig.move(timeout_s=10 * rig.contract.timing.control_dt_s)
    rig.tick(40)
    rig.require(rig.core.safety.reason is Reason.GOAL_EXPIRED, "the goal did not run out")


def _commands(answer: Callable[[Rig, int], Float64]) -> Callable[[Rig], None]:
    """Replace the policy's commands for 60 ticks, then give it 40 of its own."""

    def run(rig: Rig) -> None:
        policy, count = rig.core.policy, iter(range(10**9))
        with _instead(rig, lambda: np.copyto(policy.command, answer(rig, next(count)), casting="unsafe")):
            rig.tick(60)
        seen = list(rig.states)
        rig.tick(40)
        rig.states[:] = seen

    return run


def _not_a_number(rig: Rig, count: int) -> Float64:
    return np.full(len(rig.contract.joint_names), math.nan)


def _flapping(rig: Rig, count: int) -> Float64:
    safety = rig.core.safety
    return safety.high if count % 30 < 15 else safety.low


def _into_itself(rig: Rig) -> None:
    _towards(rig, Reason.SELF_COLLISION, "no posture in which this robot touches itself was found")


def _with_a_box(contract: Contract) -> SafetyConfig:
    """The box that is the default for goals of the tool, also where goals are about an object."""
    low, high = box_around_goals(contract, SafetyConfig.model_fields["workspace_margin_m"].default)
    return SafetyConfig(workspace_min_m=low, workspace_max_m=high)


def _out_of_the_box(rig: Rig) -> None:
    _towards(rig, Reason.TOOL_OUTSIDE, "no posture with the tool outside the box was found")


def _towards(rig: Rig, refused: Reason, not_found: str) -> None:
    """Towards the nearest of many random postures that geometry refuses for this reason, then home again."""
    geometry_checker = rig.core.safety.geometry_checker
    touches = refused is Reason.SELF_COLLISION
    rig.require(
        geometry_checker is not None and (bool(geometry_checker.pairs) or not touches),
        "this robot has no geometry to check",
    )
    if geometry_checker is None:
        return
    home, (low, high) = rig.contract.home_positions, rig.contract.position_limits
    postures = np.random.default_rng(0).uniform(low, high, (2000, len(home)))
    found = [q for q in postures if geometry_checker.blocks([q.tolist()], home.tolist()) is refused]
    rig.require(bool(found), not_found)
    if found:
        _go(rig, min(found, key=lambda q: float(np.abs(q - home).max())), home, refused)


def _go(rig: Rig, there: Float64, back: Float64, wanted: Reason) -> None:
    with _instead(rig, lambda: _lead(rig, there)):
        rig.tick(80)
    rig.require(rig.core.safety.reason is wanted, f"the way there was not refused: {rig.core.safety.reason.sentence}")
    seen = list(rig.states)
    with _instead(rig, lambda: _lead(rig, back)):
        rig.tick(40)
    rig.states[:] = seen


def _lead(rig: Rig, there: Float64) -> None:
    """Command what leads joints to positions `[J]`: these, or a velocity in proportion to the way, and a little more,
    since such drives give way under a load.
    """
    way = there - rig.driver.newest().joint_position
    sent = [joint.mode == "position" for joint in rig.contract.robot.joints]
    led = (way + _MORE_RAD * np.sign(way)) / _LEAD_S
    np.copyto(rig.core.policy.command, np.where(sent, there, led), casting="unsafe")


def _geometry_of_ways(subject: Subject) -> str:
    """Parts that could touch, on ways that commands say: those of efforts do not."""
    return limited_accelerations(subject) or geometry(subject)


def _estop(rig: Rig) -> None:
    rig.core.estop()
    rig.tick(30)
    rig.move()
    rig.core.stop()
    for _ in range(_LONGEST_REST // 50):
        rig.tick(50)
        speed = float(np.abs(rig.driver.newest().joint_velocity).max())
        if speed < _STILL:
            return
    rig.problems.append(f"a joint still moves at {speed:.3f} rad/s")


def _estop_blind(rig: Rig) -> None:
    with rig.fault(lambda out: out.vector.fill(math.nan)):
        rig.core.estop()
        rig.tick(20)
        held = rig.core.safety.target.copy()
        rig.tick(20)
    rig.require(bool(np.array_equal(held, rig.core.safety.target)), "the target moved without readings")


def _release(rig: Rig) -> None:
    rig.core.estop()
    rig.tick(20)
    rig.core.release()
    rig.tick(5)
    seen = list(rig.states)
    rig.move()
    rig.tick(1)
    rig.require(rig.state is State.RAMP_IN, "the next goal did not begin with a ramp-in")
    rig.tick(30)
    rig.states[:] = seen
