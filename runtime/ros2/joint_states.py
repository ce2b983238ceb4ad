"""The newest state of every joint, out of messages that may hold other joints too, or some of ours only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from runtime.robot.readings import Float64
from runtime.ros2 import messages as ros
from runtime.ros2.clock import is_news, seconds


class JointStates:
    """States of `names`, in that order. Arrays are `[J]`; NaN until a message has told."""

    def __init__(self, names: Sequence[str], *, stamps: Literal["arrival", "header"]) -> None:
        self._index = {name: place for place, name in enumerate(names)}
        self._stamps = stamps
        count = len(names)
        self.position: Float64 = np.full(count, math.nan)
        self.velocity: Float64 = np.full(count, math.nan)
        self.effort: Float64 = np.full(count, math.nan)
        self._measured_s = np.full(count, -math.inf)
        self._stamp = np.full(count, -math.inf)
        self.others: set[str] = set()
        """Joints that are not ours, seen until now."""
        self.problem = ""
        """What was wrong with the last message that could not be used."""

    @property
    def measured_s(self) -> float:
        """When the joint whose state is the oldest was measured, monotonic; -inf until all were."""
        return float(self._measured_s.min())

    def missing(self) -> list[str]:
        """Joints of which no message has told yet."""
        return [name for name, place in self._index.items() if not math.isfinite(self._measured_s[place])]

    def take(self, message: ros.JointState, *, arrived_s: float, stamp_s: float) -> None:
        """Keep what is new in a message that came at `arrived_s`, monotonic, when stamps were `stamp_s`.

        A message with a stamp that was seen before is no news, however often it is sent.
        """
        names = list(message.name)
        if len(message.position) != len(names):
            self.problem = f"a JointState with {len(names)} names and {len(message.position)} positions"
            return
        stamp = seconds(message.header.stamp)
        measured_s = arrived_s
        if self._stamps == "header" and stamp:
            measured_s -= max(0.0, stamp_s - stamp)
        velocity, effort = (
            list(values) if len(values) == len(names) else None for values in (message.velocity, message.effort)
        )
        for source, name in enumerate(names):
            place = self._index.get(name)
            if place is None:
                self.others.add(name)
                continue
            if not is_news(stamp, self._stamp[place]):
                continue
            self._stamp[place], self._measured_s[place] = stamp, measured_s
            self.position[place] = message.position[source]
            self.velocity[place] = math.nan if velocity is None else velocity[source]
            self.effort[place] = math.nan if effort is None else effort[source]
