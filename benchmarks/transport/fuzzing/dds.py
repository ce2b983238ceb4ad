"""The parsers of ROS 2 messages: a sample's bytes to a goal, or to a tree of frames."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from benchmarks.transport.fuzzing.damage import Damage
from benchmarks.transport.fuzzing.network import contract
from benchmarks.transport.fuzzing.parser import Parse, Parser
from runtime.ros2 import messages as ros
from runtime.ros2.convert import goal_of, sighting_of
from runtime.ros2.tf.tree import FrameTree

_NOW_S = 1_700_000_000.0
_FRAMES = ("world", "", "map", "wörld", "\x1b[31m", "x" * 3000)


def _pose(damage: Damage) -> bytes:
    """Mostly a whole message with other numbers in it, so that the conversion is reached."""
    rng = damage.rng
    numbers = [0.5, 0.1, 0.4, 1.0, 0.0, 0.0, 0.0]
    if rng.random() < 0.6:
        numbers[rng.randrange(7)] = damage.number()
    frame = rng.choice(_FRAMES) if rng.random() < 0.3 else "world"
    stamp = ros.Time(rng.choice((0, 1_700_000_000, -(2**31), 2**31 - 1)), rng.choice((0, 999_999_999, 2**32 - 1)))
    pose = ros.Pose(ros.Point(*numbers[:3]), ros.Quaternion(*numbers[3:]))
    data = ros.PoseStamped(ros.Header(stamp, frame), pose).serialize(use_version_2=False)
    return damage.content(data) if rng.random() < 0.6 else data


@contextmanager
def _poses() -> Iterator[Parse]:
    def parse(data: bytes) -> object:
        message = ros.PoseStamped.deserialize(data)
        sighting_of(message, frame="world", stamped=True)
        return goal_of(message, contract(), frame="world", now=_NOW_S, max_age_s=1.0, timeout_s=None)

    yield parse


def _transforms(damage: Damage) -> bytes:
    """Mostly whole messages, about few frames, so that they contradict each other."""
    rng = damage.rng
    told = []
    for _ in range(rng.randrange(4)):
        numbers = [0.5, 0.1, 0.4, 1.0, 0.0, 0.0, 0.0]
        if rng.random() < 0.3:
            numbers[rng.randrange(7)] = damage.number()
        placed = ros.Transform(ros.Vector3(*numbers[:3]), ros.Quaternion(*numbers[3:]))
        stamp = ros.Time(rng.choice((0, 1, 1_700_000_000)), 0)
        parent, child = ("world", "map") if rng.random() < 0.5 else rng.choices(_FRAMES, k=2)
        told.append(ros.TransformStamped(ros.Header(stamp, parent), child, placed))
    data = ros.TFMessage(told).serialize(use_version_2=False)
    return damage.content(data) if rng.random() < 0.3 else data


@contextmanager
def _trees() -> Iterator[Parse]:
    position, wxyz = np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0])

    def parse(data: bytes) -> object:
        message, tree = ros.TFMessage.deserialize(data), FrameTree(max_age_s=1.0)
        said = [tree.take(transform, static=False, now_s=0.0) for transform in message.transforms]
        return said, tree.carry("map", "world", position, wxyz, now_s=0.0)

    yield parse


DDS = (Parser("ROS 2 pose", _pose, _poses), Parser("ROS 2 transforms", _transforms, _trees))
