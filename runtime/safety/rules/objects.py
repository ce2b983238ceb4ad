"""Rules about the object that goals are about, wherever its place comes from: a tracker, a driver, a client."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from runtime.robot.layout import Kind, Layout
from runtime.robot.readings import Readings
from runtime.safety.rules.base import Fault, Moment, ReadingRule, spoil
from runtime.safety.rules.values import Bounds, out_of_range
from runtime.status import FOLLOWING, Reason
from sim2real.contract import Contract, Frozen, Positive

if TYPE_CHECKING:
    from runtime.safety.config import SafetyConfig


class ObjectSettings(Frozen):
    """Settings of the rules about an object."""

    object_stale_s: Positive = 0.5
    """After this time without a report of a tracker nobody knows where the object is."""
    object_speed_max_m_s: Positive | None = 3.0
    """Faster than this, beyond `object_jump_m`, no object moves: what is reported there is believed only when enough
    time has passed to get there."""
    object_jump_m: Positive = 0.25


class ObjectRule(ReadingRule):
    """One about where objects are. The robot's own readings are as good as ever when it is broken."""

    about_object = True
    joints_believed = True

    def __init__(self, contract: Contract, config: SafetyConfig, layout: Layout) -> None:
        self._parts = layout.of_kind(Kind.POSITION, tracked=True)
        self._tracked = [part for part in layout.parts if part.tracked]


class ObjectKnown(ObjectRule):
    """Somebody tells where the object is."""

    name = "lost object"
    bounds = "how long ago a tracker may have seen the object; for policies that move one"
    fields = ("object_stale_s",)
    reasons = (Reason.OBJECT_UNKNOWN,)
    faults = (
        Fault(
            "object lost",
            "nothing tells where the object is (policies that move one)",
            spoil(lambda out: out.object_position.fill(math.nan)),
            "hold, as long as it takes; a ramp-in with the next sighting",
            80,
        ),
    )

    def judge(self, moment: Moment) -> Reason:
        """See `ReadingRule`."""
        for part in self._tracked:
            if not all(map(math.isfinite, moment.values[part.entries])):
                return Reason.OBJECT_UNKNOWN
        return FOLLOWING

    def explain(self, moment: Moment) -> str:
        """See `ReadingRule`; there is no value to tell."""
        return ""


class ObjectNear(ObjectRule):
    """The object is somewhere near the goals."""

    name = "object's place"
    bounds = "the object, near the goal box"
    fields = ("out_of_range_m",)
    reasons = (Reason.OBJECT_IMPOSSIBLE,)
    faults = (
        Fault(
            "object far away",
            "the object in millimetres",
            spoil(lambda out: np.multiply(out.object_position, 1e3, out=out.object_position)),
        ),
    )

    def __init__(self, contract: Contract, config: SafetyConfig, layout: Layout) -> None:
        super().__init__(contract, config, layout)
        bounds = Bounds(contract, config)
        self._bounds = [[bounds.of(part, index) for index in range(len(part.labels))] for part in self._parts]

    def judge(self, moment: Moment) -> Reason:
        """See `ReadingRule`."""
        return Reason.OBJECT_IMPOSSIBLE if self.objection(moment.values) else FOLLOWING

    def explain(self, moment: Moment) -> str:
        """See `ReadingRule`."""
        return self.objection(moment.values)

    def objection(self, values: Sequence[float]) -> str:
        """What is wrong with the places in `Readings.vector`, in words; empty when nothing is."""
        for part, bounds in zip(self._parts, self._bounds, strict=True):
            for index, (value, (low, high)) in enumerate(zip(values[part.entries], bounds, strict=True)):
                if not low <= value <= high:
                    return out_of_range(part, index, value, low, high)
        return ""


def _flickers() -> Callable[[Readings], None]:
    """Every third reading shows another object, half a metre away."""
    count = iter(range(10**9))

    def show(out: Readings) -> None:
        if next(count) % 3 == 0:
            out.object_position[0] += 0.5

    return show


class ObjectJumps(ObjectRule):
    """The object moves no faster than objects do.

    It is compared with where it was believed last; one that was really carried elsewhere is believed again after the
    time that it took at that speed.
    """

    name = "object's speed"
    bounds = "the way of the object since it was believed last, beyond `object_jump_m`"
    fields = ("object_speed_max_m_s", "object_jump_m")
    reasons = (Reason.OBJECT_JUMPED,)
    remembered = ("_believed", "_time_s")
    faults = (Fault("object jumps", "every third report shows another object, half a metre away", _flickers),)

    def __init__(self, contract: Contract, config: SafetyConfig, layout: Layout) -> None:
        super().__init__(contract, config, layout)
        self._speed, self._spare = config.object_speed_max_m_s or math.inf, config.object_jump_m
        self.restart()

    def restart(self) -> None:
        """See `ReadingRule`."""
        self._believed: list[list[float]] = []
        self._time_s = -math.inf

    def judge(self, moment: Moment) -> Reason:
        """See `ReadingRule`."""
        places = [moment.values[part.entries] for part in self._parts]
        if self._believed and max(map(math.dist, places, self._believed)) > self._allowed_m(moment):
            return Reason.OBJECT_JUMPED
        self._believed, self._time_s = places, moment.time_s
        return FOLLOWING

    def explain(self, moment: Moment) -> str:
        """See `ReadingRule`."""
        rows = [(part, moment.values[part.entries]) for part in self._parts]
        distances = [math.dist(place, before) for (_, place), before in zip(rows, self._believed, strict=True)]
        worst = distances.index(max(distances))
        part, place = rows[worst]
        return (
            f"{part.words(place)} m, {distances[worst]:.3g} m from where it was "
            f"{moment.time_s - self._time_s:.3g} s before, and may be {self._allowed_m(moment):.3g} m"
        )

    def _allowed_m(self, moment: Moment) -> float:
        return self._spare + self._speed * (moment.time_s - self._time_s)


RULES: tuple[type[ObjectRule], ...] = (ObjectKnown, ObjectNear, ObjectJumps)
