"""The queue with a real core and a simulated robot; the test policy gives every goal a reachability of 0.5."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.control.goal_queue import GoalQueue, StallWatch, Tracked
from runtime.control.loop import Loop
from runtime.control.policy_controller import PolicyController
from runtime.control.telemetry import Telemetry
from runtime.drivers.base import Driver, DriverOptions
from runtime.drivers.mujoco import MujocoDriver
from runtime.goals.messages import GoalPose
from runtime.goals.progress import GoalState, Why
from runtime.goals.resolve import validate_goal
from runtime.inference.policy import Policy
from runtime.ipc.goal_slots import RequestedGoal
from runtime.ipc.shared_memory import HISTORY, MAX_GOALS
from runtime.ipc.telemetry_ring import Ring
from runtime.recording.replay import replay
from runtime.recording.writer import Recorder
from runtime.status import State

NEAR, OTHER, FAR = (0.45, 0.1, 0.45), (0.4, 0.0, 0.45), (0.7, 0.5, 0.7)


class Bench:
    """A served loop without processes."""

    def __init__(self, policy: Policy, *, gate: float | None = None, stall_after_s: float = math.inf) -> None:
        self.core = PolicyController(policy)
        self.core.reachability_gate = gate
        self.driver = MujocoDriver(policy.contract, DriverOptions(speed=0))
        self.queue = GoalQueue(self.core, stall_after_s=stall_after_s)
        self.loop = Loop(self.driver, self.core, self)
        self.count = 0

    def before_tick(self, core: PolicyController, driver: Driver) -> None:
        self.queue.update(driver)

    def after_tick(self, core: PolicyController, missed_periods: int) -> None:
        pass

    def add(self, position: tuple[float, float, float], **options: object) -> Tracked:
        """`age_s`, `stamped` and `leased` are the queue's, all other options the goal's."""
        own = {name: options.pop(name) for name in ("age_s", "stamped", "leased") if name in options}
        message = GoalPose.model_validate({"position": position} | options)
        self.count += 1
        goal = validate_goal(self.core.contract, message, time.time())
        wanted = RequestedGoal(self.count, goal, message.priority, message.queue)._replace(**own)
        return self.queue.add(wanted, self.driver.now_s())

    def tick(self, ticks: int = 1) -> None:
        for _ in range(ticks):
            self.loop.tick(0)

    def until(self, tracked: Tracked, *, limit: int = 500) -> GoalState:
        while not tracked.state.final and limit:
            self.tick()
            limit -= 1
        return tracked.state


@pytest.fixture
def bench(policy: Policy) -> Bench:
    return Bench(policy)


def test_waypoints_are_visited_in_order(bench: Bench) -> None:
    goals = [bench.add(position, queue=True) for position in (NEAR, OTHER, NEAR)]
    bench.tick()
    assert [goal.state for goal in goals] == [GoalState.ACTIVE, GoalState.ACCEPTED, GoalState.ACCEPTED]
    for goal in goals:
        assert bench.until(goal) is GoalState.REACHED
        assert goal.distance_m < 0.05
        assert goal.time_s > 0
    assert goals[0].changed_ns <= goals[1].changed_ns <= goals[2].changed_ns
    bench.tick(5)
    # The robot rests at the last one.
    assert bench.queue.current is goals[2]
    assert bench.core.safety.state in (State.ACTIVE, State.RAMP_IN)


def test_a_goal_takes_the_place_of_its_equals_and_of_lesser_ones(bench: Bench) -> None:
    first, waypoint = bench.add(FAR), bench.add(NEAR, queue=True)
    bench.tick(3)
    second = bench.add(OTHER)
    bench.tick()
    assert (first.state, first.why) == (GoalState.PREEMPTED, Why.REPLACED)
    assert waypoint.state is GoalState.PREEMPTED
    assert bench.until(second) is GoalState.REACHED


def test_newest_of_several_goals_at_once_wins(bench: Bench) -> None:
    first, second = bench.add(FAR), bench.add(NEAR)
    bench.tick()
    assert (first.state, second.state) == (GoalState.PREEMPTED, GoalState.ACTIVE)


def test_goal_of_lower_priority_is_refused_or_waits(bench: Bench) -> None:
    important = bench.add(NEAR, priority=5)
    bench.tick()
    assert bench.add(OTHER).why is Why.OUTRANKED
    waiting = bench.add(OTHER, queue=True)
    bench.tick()
    assert waiting.state is GoalState.ACCEPTED
    assert bench.until(important) is GoalState.REACHED
    assert bench.until(waiting) is GoalState.REACHED


def test_waypoint_of_higher_priority_interrupts_and_the_other_goes_on(bench: Bench) -> None:
    ordinary = bench.add(FAR, timeout_s=60)
    bench.tick(5)
    urgent = bench.add(NEAR, queue=True, priority=1)
    bench.tick()
    assert (ordinary.state, ordinary.why) == (GoalState.ACCEPTED, Why.INTERRUPTED)
    assert bench.until(urgent) is GoalState.REACHED
    bench.tick(2)
    assert ordinary.state is GoalState.ACTIVE
    assert bench.core.goal is not None
    assert bench.core.goal.valid_for_s < 60 - urgent.time_s


def test_interrupted_goal_does_not_preempt_when_it_goes_on(bench: Bench) -> None:
    ordinary = bench.add(FAR)
    bench.tick()
    later = bench.add(OTHER, queue=True)
    urgent = bench.add(NEAR, queue=True, priority=1)
    assert bench.until(urgent) is GoalState.REACHED
    bench.tick(2)
    assert (ordinary.state, later.state) == (GoalState.ACTIVE, GoalState.ACCEPTED)


def test_timeout_of_a_waypoint_runs_from_its_turn(bench: Bench) -> None:
    bench.add(NEAR)
    waypoint = bench.add(FAR, queue=True, timeout_s=0.2)
    other = bench.add(FAR, queue=True, timeout_s=0.2, stamped=True)
    bench.tick(10)
    assert (waypoint.state, other.state) == (GoalState.ACCEPTED, GoalState.TIMED_OUT)
    assert bench.until(waypoint) is GoalState.TIMED_OUT
    assert waypoint.time_s == pytest.approx(0.2, abs=0.05)
    bench.tick()
    assert bench.core.safety.reason.sentence == "the goal's timeout has passed"


def test_goal_that_waited_in_memory_is_not_young_again(bench: Bench) -> None:
    goal = bench.add(NEAR, timeout_s=1.0, age_s=5.0)
    bench.tick()
    assert goal.state is GoalState.TIMED_OUT


def test_cancelling_one_and_all(bench: Bench) -> None:
    goals = [bench.add(FAR), bench.add(NEAR, queue=True), bench.add(OTHER, queue=True)]
    bench.tick(3)
    bench.queue.cancel({2})
    assert [goal.state for goal in goals] == [GoalState.ACTIVE, GoalState.CANCELLED, GoalState.ACCEPTED]
    bench.queue.cancel_before(3)
    bench.tick()
    assert [goal.state for goal in goals] == [GoalState.CANCELLED, GoalState.CANCELLED, GoalState.ACTIVE]
    bench.queue.cancel_before(bench.queue.newest + 1)
    bench.tick()
    assert bench.core.goal is None
    assert bench.core.safety.state is State.IDLE


def test_cancelling_a_goal_that_was_reached_makes_the_robot_idle(bench: Bench) -> None:
    goal = bench.add(NEAR)
    bench.until(goal)
    bench.queue.cancel_before(bench.queue.newest + 1)
    bench.tick()
    assert goal.state is GoalState.REACHED
    assert (bench.queue.current, bench.core.safety.state) == (None, State.IDLE)


def test_emergency_stop_drops_all_goals_for_good(bench: Bench) -> None:
    goals = [bench.add(FAR), bench.add(NEAR, queue=True)]
    bench.tick(3)
    bench.core.estop()
    bench.tick()
    assert [(goal.state, goal.why) for goal in goals] == [(GoalState.CANCELLED, Why.EMERGENCY)] * 2
    bench.core.release()
    bench.tick(3)
    assert bench.core.safety.state is State.IDLE


def test_lost_lease_drops_what_was_given_under_it(bench: Bench) -> None:
    leased, free = bench.add(FAR, leased=True), bench.add(NEAR, queue=True)
    bench.tick(2)
    bench.queue.lease_lost()
    bench.tick()
    assert (leased.state, leased.why, free.state) == (GoalState.CANCELLED, Why.LEASE, GoalState.ACTIVE)


def test_gate_refuses_before_anything_moves_and_keeps_the_goal_in_force(policy: Policy) -> None:
    bench = Bench(policy, gate=0.6)
    target = bench.core.safety.target
    goal = bench.add(NEAR)
    bench.tick()
    before = target.copy()
    bench.tick(5)
    assert (goal.state, goal.why, goal.reachability) == (GoalState.REFUSED, Why.UNREACHABLE, 0.5)
    np.testing.assert_array_equal(target, before)
    bench.core.reachability_gate = 0.4
    taken = bench.add(NEAR)
    bench.tick(2)
    assert taken.state is GoalState.ACTIVE
    bench.core.reachability_gate = 0.6
    refused = bench.add(OTHER)
    bench.tick(2)
    assert (taken.state, refused.state) == (GoalState.ACTIVE, GoalState.REFUSED)
    assert bench.until(taken) is GoalState.REACHED


def test_gate_waits_for_readings_that_can_be_trusted(policy: Policy) -> None:
    bench = Bench(policy, gate=0.4)
    bench.tick()
    good, bench.driver.read = bench.driver.read, lambda out: out.joint_position.fill(math.nan)  # type: ignore[method-assign]
    goal = bench.add(NEAR)
    bench.tick(4)
    assert goal.state is GoalState.ACCEPTED
    bench.driver.read = good  # type: ignore[method-assign]
    assert bench.until(goal) is GoalState.REACHED


def test_gate_judges_without_commanding(policy: Policy) -> None:
    """With a gate that lets everything pass, the robot moves as without one, a tick later."""
    free, gated = Bench(policy), Bench(policy, gate=0.0)
    commands = []
    for bench, ticks in ((free, 20), (gated, 20)):
        bench.tick(2)
        bench.add(NEAR)
        bench.tick(ticks)
        commands.append(bench.core.safety.target.copy())
    np.testing.assert_array_equal(*commands)


def test_stall_needs_both_no_progress_and_a_low_reachability() -> None:
    watch = StallWatch(1.0, 0.5)
    watch.restart(0.0)
    assert not watch.stalled(10.0, 0.1, 0.1)
    assert not watch.stalled(9.0, 0.1, 1.0)  # closer
    assert not watch.stalled(8.99, 0.1, 1.9)  # hardly closer, but not for long enough
    assert not watch.stalled(9.5, 0.9, 2.5)  # the policy is confident
    assert not watch.stalled(9.5, math.nan, 2.5)
    assert watch.stalled(9.5, 0.1, 2.5)


def test_stalled_goal_is_given_up_and_the_next_one_begins(policy: Policy) -> None:
    bench = Bench(policy, stall_after_s=1.0)
    # The test policy's constant reachability of 0.5 counts as low here.
    bench.queue._stall.threshold = 0.6
    unreachable = bench.add((0.7, 0.5, 0.05))
    after = bench.add(NEAR, queue=True)
    assert bench.until(unreachable) is GoalState.STALLED
    assert unreachable.why is Why.NO_PROGRESS
    bench.tick()
    assert after.state is GoalState.ACTIVE


@pytest.mark.parametrize("speed", [0.1, 0.5])
def test_speed_shortens_every_step_and_keeps_its_direction(policy: Policy, speed: float) -> None:
    bench = Bench(policy)
    bench.tick()
    bench.add(FAR, speed=speed)
    largest = speed * np.minimum(bench.core.contract.action.step_max, bench.core.safety.max_step)
    for _ in range(40):
        before = bench.core.safety.target.copy()
        bench.tick()
        assert (np.abs(bench.core.safety.target - before) <= largest * (1 + 1e-9)).all()
    assert bench.core.safety.clamped == 0
    assert np.abs(bench.core.safety.target - before).max() > 0.5 * largest.min()


def test_replay_follows_speeds_gates_interruptions_and_stops_bit_for_bit(policy: Policy, tmp_path: Path) -> None:
    ring = Ring.create(policy.contract)
    bench = Bench(policy, gate=0.4)
    bench.loop = Loop(bench.driver, bench.core, bench, telemetry=Telemetry(ring, bench.core))
    bench.add(FAR, speed=0.3)
    bench.tick(10)
    bench.add(NEAR, queue=True, priority=1, speed=0.7)
    bench.tick(60)
    bench.core.reachability_gate = 0.9
    assert bench.add(OTHER, priority=2).state is GoalState.ACCEPTED
    bench.tick(10)
    bench.core.estop()
    bench.tick(5)
    bench.core.release()
    bench.core.reachability_gate = None
    bench.add(OTHER, speed=0.2)
    bench.tick(20)
    path = tmp_path / "log.mcap"
    recorder = Recorder(path, policy.contract, {"safety": bench.core.safety.config.model_dump_json()})
    recorder.write(ring.drain())
    recorder.close()
    ring.close()
    result = replay(path, policy.path)
    assert (result.ticks, result.different) == (105, 0)


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 2), st.booleans()),
        st.tuples(st.just("cancel"), st.integers(0, 30), st.booleans()),
        st.tuples(st.just("tick"), st.integers(1, 8), st.booleans()),
        st.tuples(st.just("estop"), st.integers(0, 1), st.booleans()),
    ),
    max_size=25,
)


# The policy keeps nothing between examples.
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=OPERATIONS)
def test_whatever_is_asked_for_at_most_one_goal_is_active_and_final_states_stay(
    policy: Policy, operations: list
) -> None:
    bench = Bench(policy)
    known: dict[int, Tracked] = {}
    final: dict[int, GoalState] = {}
    for kind, number, flag in operations:
        if kind == "add":
            tracked = bench.add(NEAR if flag else FAR, priority=number, queue=flag, timeout_s=1.0)
            known[tracked.number] = tracked
        elif kind == "cancel":
            bench.queue.cancel({number})
        elif kind == "estop":
            bench.core.estop()
            bench.tick()
            bench.core.release()
        else:
            bench.tick(number)
        active = [tracked for tracked in known.values() if tracked.state is GoalState.ACTIVE]
        assert len(active) <= 1
        assert all(tracked is bench.queue.current for tracked in active)
        for each, state in final.items():
            assert known[each].state is state
        final = {each: tracked.state for each, tracked in known.items() if tracked.state.final}
    for tracked in known.values():
        bench.until(tracked, limit=2000)
        assert tracked.state.final


def test_rows_of_the_record_are_used_again_but_never_those_of_live_goals(bench: Bench) -> None:
    live = [bench.add(FAR, queue=True) for _ in range(MAX_GOALS - 1)]
    rows = {tracked.row for tracked in live}
    for _ in range(3 * HISTORY):
        passing = bench.add(FAR, queue=True)
        assert passing.row not in rows
        bench.queue.cancel({passing.number})
