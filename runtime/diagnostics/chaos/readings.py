"""Faults of readings and of the packets that bring them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from runtime.diagnostics.chaos.rig import FOLLOWS, Fault, Rig, copied, copy_readings
from runtime.diagnostics.chaos.scenario import Need, Scenario, Subject, any_robot, some_positions
from runtime.robot.readings import Readings
from runtime.safety import SafetyConfig, rules
from runtime.safety.rules import base
from runtime.status import State

_A_WAY = 20
"""Ticks after which the robot is sent elsewhere, since some faults show only while it moves."""
_HOLD = frozenset({State.HOLD})
_DAMP = frozenset({State.DAMP})


def last_before(rig: Rig) -> Fault:
    """No new packet arrives: values and stamp stay."""
    kept = rig.driver.newest()
    return lambda out: copy_readings(kept, out)


def frozen(rig: Rig) -> Fault:
    """A driver that stamps the same values anew."""
    kept = rig.driver.newest()
    return lambda out: np.copyto(out.vector, kept.vector)


def reordered(rig: Rig) -> Fault:
    """Every second packet was overtaken by the one before it."""
    recent: deque[Readings] = deque(maxlen=3)
    count = iter(range(10**9))

    def swap(out: Readings) -> None:
        recent.append(copied(out))
        if next(count) % 2:
            copy_readings(recent[0], out)

    return swap


def duplicated(rig: Rig) -> Fault:
    """Every packet arrives twice."""
    last: deque[Readings] = deque(maxlen=1)
    count = iter(range(10**9))

    def repeat(out: Readings) -> None:
        if next(count) % 2 and last:
            copy_readings(last[0], out)
        last.append(copied(out))

    return repeat


def dropped(rig: Rig) -> Fault:
    """A third of the packets, at random."""
    rng, last = np.random.default_rng(0), copied(rig.driver.newest())

    def drop(out: Readings) -> None:
        if rng.random() < 1 / 3:
            copy_readings(last, out)
        else:
            copy_readings(out, last)

    return drop


def delayed(periods: int) -> Callable[[Rig], Fault]:
    """Every packet arrives that many control periods late."""

    def make(rig: Rig) -> Fault:
        on_their_way = deque([copied(rig.driver.newest())], maxlen=periods + 1)

        def delay(out: Readings) -> None:
            on_their_way.append(copied(out))
            copy_readings(on_their_way[0], out)

        return delay

    return make


def overwritten(field: str, value: float) -> Callable[[Rig], Fault]:
    """One number of a reading."""

    def make(rig: Rig) -> Fault:
        def overwrite(out: Readings) -> None:
            getattr(out, field)[-1] = value

        return overwrite

    return make


def blocked(rig: Rig) -> Fault:
    """The joints stay where they are, but for the encoders' noise, wherever they are sent."""
    kept, rng = rig.driver.newest(), np.random.default_rng(0)
    kept.joint_velocity.fill(0.0)

    def stay(out: Readings) -> None:
        np.copyto(out.vector, kept.vector)
        out.joint_position += 1e-5 * rng.standard_normal(len(out.joint_position))

    return stay


def _by(fault: base.Fault) -> Callable[[Rig], Fault]:
    return lambda rig: fault.make()


def garbage(rig: Rig) -> Fault:
    """Any number at all, in every field, the stamp included."""
    rng = np.random.default_rng(0)
    numbers = np.array([0, -0.0, 1, -3, 1e-308, 1e308, math.inf, -math.inf, math.nan, 4e9])

    def fill(out: Readings) -> None:
        out.vector[:], out.joint_effort[:] = rng.choice(numbers, len(out.vector)), rng.choice(numbers)
        out.time_s = float(rng.choice(numbers)) if rng.random() < 0.5 else out.time_s

    return fill


def _passing(
    name: str,
    fault: str,
    response: str,
    make: Callable[[Rig], Fault],
    ticks: int = 10,
    *,
    lasts_s: float = 0.0,
    during: frozenset[State] = _HOLD,
    config: SafetyConfig | None = None,
    needs: Need = any_robot,
) -> Scenario:
    """The fault for so many ticks and so long, then enough good ones to move on."""

    def run(rig: Rig) -> None:
        longest = max(ticks, math.ceil(lasts_s / rig.contract.timing.control_dt_s))
        with rig.fault(make(rig)):
            for left in range(longest, 0, -_A_WAY):
                rig.tick(min(left, _A_WAY))
                if left > _A_WAY:
                    rig.move()
        seen = list(rig.states)
        rig.recover()
        rig.states[:] = seen

    return Scenario(name, fault, response, FOLLOWS, during, run, config, needs=needs)


def reading_scenarios() -> Iterator[Scenario]:
    """All scenarios of readings and their packets."""
    yield from _of_packets()
    yield from _of_rules()
    yield from _of_the_rest()


def _of_packets() -> Iterator[Scenario]:
    yield _passing(
        "stale",
        "no new readings",
        "hold once they are older than `stale_after_periods`; a ramp-in when they come again",
        last_before,
    )
    yield _passing(
        "stale for long",
        "no new readings for 4 s",
        "hold, after `hold_to_damp_s` damp (with nothing to yield to: stay); once they come again the arm yields for "
        "`damp_for_s`, then a ramp-in",
        last_before,
        lasts_s=4.0,
        during=_HOLD | _DAMP,
    )
    yield _passing(
        "frozen",
        "the same values with fresh stamps while the joints are sent elsewhere",
        "hold after `frozen_after_periods` and `frozen_travel_rad`, until any value changes",
        frozen,
        25,
    )
    yield _passing(
        "reordered",
        "every second packet overtakes the one before",
        "hold for the tick in which an older reading follows a newer one",
        reordered,
        20,
    )
    yield _passing(
        "duplicated",
        "every packet arrives twice",
        "followed, as long as none is stale",
        duplicated,
        20,
        during=frozenset(),
    )
    yield _passing(
        "dropped",
        "a third of the packets is lost",
        "followed; hold while none is fresh",
        dropped,
        60,
        during=frozenset(),
    )
    yield _passing("delayed a little", "every packet is 2 periods late", "followed", delayed(2), 25, during=frozenset())
    yield _passing(
        "delayed a lot", "every packet is 6 periods late", "hold until they are in time again", delayed(6), 25
    )


def _of_rules() -> Iterator[Scenario]:
    for rule in rules.READING_RULES:
        for fault in rule.faults:
            yield _passing(
                fault.name,
                fault.description,
                fault.response,
                _by(fault),
                fault.ticks,
                during=frozenset({rule.reasons[0].state}),
                needs=partial(_can_break, rule, fault),
            )


def _can_break(rule: type[base.ReadingRule], fault: base.Fault, subject: Subject) -> str:
    """Whether the rule applies, and the robot has the readings that the fault spoils."""
    contract = subject.contract
    if rule.about_object and contract.tracked is None:
        return "it moves no object"
    if not rule.applies(contract):
        return "it has nothing that the rule is about"
    try:
        fault.make()(Readings.of(contract))
    except AttributeError as missing:
        return f"it has no reading {missing.name}"
    return ""


def _of_the_rest() -> Iterator[Scenario]:
    yield _passing(
        "garbage", "random numbers, NaN and infinities in all fields and stamps", "hold, later damp", garbage, 60
    )
    yield _passing(
        "blocked",
        "the joints stay where they are while the target moves on",
        "damp at `tracking_max_rad`: the target goes back to the joints, then a new attempt with a ramp-in",
        blocked,
        40,
        config=SafetyConfig(tracking_max_rad=0.1),
        during=_DAMP,
        needs=some_positions,
    )
    yield Scenario(
        "no readings at all",
        "not one trustworthy reading since the start",
        "nothing is commanded",
        FOLLOWS,
        _HOLD,
        _from_the_start,
    )
    yield Scenario(
        "fault that stays",
        "NaN for good, with `damp_to_estop_s` set",
        "hold, damp, emergency stop",
        frozenset({State.ESTOP}),
        _HOLD | _DAMP,
        _for_good,
        SafetyConfig(hold_to_damp_s=0.4, damp_to_estop_s=0.4),
    )


def _from_the_start(rig: Rig) -> None:
    rig.core.restart(rig.driver.now_s())
    commands = rig.witness.commands
    with rig.fault(overwritten("joint_position", math.nan)(rig)):
        rig.tick(10)
    rig.require(rig.witness.commands == commands, "the robot was commanded without a trustworthy reading")
    seen = list(rig.states)
    # The target begins anew at the measured joints, which is no step of the old one.
    rig.witness.restart()
    rig.tick(40)
    rig.states[:] = seen


def _for_good(rig: Rig) -> None:
    with rig.fault(overwritten("joint_velocity", math.nan)(rig)):
        rig.tick(40)
    seen = list(rig.states)
    rig.tick(20)
    rig.move()
    rig.tick(20)
    rig.states[:] = seen
