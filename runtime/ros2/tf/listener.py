"""Transforms as they come: `/tf` and `/tf_static`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from runtime.ros2 import messages as ros
from runtime.ros2.clock import Clock
from runtime.ros2.domain import STATIC_TRANSFORMS, TRANSFORMS, Participant, samples
from runtime.ros2.tf.tree import FrameTree
from sim2real.contract import Quaternion, Vector3

_MOST_TAKEN = 200


class Frames:
    """The frames of a running ROS system. Ages are by `clock`; `say` is told what cannot be used."""

    def __init__(self, participant: Participant, clock: Clock, *, max_age_s: float, say: Callable[[str], None]) -> None:
        self._tree, self._clock, self._say = FrameTree(max_age_s), clock, say
        self._static = participant.reader("tf_static", ros.TFMessage, qos=STATIC_TRANSFORMS)
        self._dynamic = participant.reader("tf", ros.TFMessage, qos=TRANSFORMS)

    def take(self) -> None:
        """Take what has arrived."""
        now_s = self._clock.now_s()
        for reader, static in ((self._static, True), (self._dynamic, False)):
            for message in samples(reader, ros.TFMessage, self._say, most=_MOST_TAKEN):
                for transform in message.transforms:
                    self._say(self._tree.take(transform, static=static, now_s=now_s))

    def carry(self, source: str, target: str, position: Vector3, wxyz: Quaternion) -> tuple[Vector3, Quaternion]:
        """A pose of frame `source` as frame `target` has it, m and wxyz; raises `runtime.ros2.tf.tree.NoTransform`."""
        now_s = self._clock.now_s()
        carried, turned = self._tree.carry(source, target, np.array(position), np.array(wxyz), now_s=now_s)
        (x, y, z), (w, a, b, c) = carried.tolist(), turned.tolist()
        return (x, y, z), (w, a, b, c)
