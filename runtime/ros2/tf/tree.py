"""A tree of frames: every frame has one parent, and a pose goes up to a common ancestor and down again.

    tree = FrameTree(max_age_s=1.0)
    tree.take(transform, static=False, now_s=clock.now_s())
    position, wxyz = tree.carry("camera", "world", position, wxyz, now_s=clock.now_s())

Nothing is interpolated: the newest transform counts, and a dynamic one only for `max_age_s` after it came. One with a
stamp that was seen before is no news, as with joint states. Lengths are in m, quaternions wxyz; messages have them as
xyzw.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from runtime.robot.readings import Float64
from runtime.ros2 import messages as ros
from runtime.ros2.clock import is_news, seconds
from sim2real.errors import ShoalError, shown
from sim2real.rotations import conjugate, quaternion_product, rotate

_UNIT_TOLERANCE = 0.01
"""Of a rotation's length; tf2 allows as much."""
_MOST_TRANSFORMS = 1000


class NoTransform(ShoalError):
    """A pose that cannot be carried from one frame to another; the sentence names the frame that is to blame."""


@dataclass
class _Edge:
    """From a child frame to its parent."""

    static: bool
    position: Float64
    """Of the child's origin in the parent, `[3]` m."""
    wxyz: Float64
    """How the child is turned in the parent, `[4]` of length 1."""
    stamp_s: float
    arrived_s: float

    def to_parent(self, position: Float64, wxyz: Float64) -> tuple[Float64, Float64]:
        return self.position + rotate(self.wxyz, position), quaternion_product(np, self.wxyz, wxyz)

    def to_child(self, position: Float64, wxyz: Float64) -> tuple[Float64, Float64]:
        back = conjugate(self.wxyz)
        return rotate(back, position - self.position), quaternion_product(np, back, wxyz)


class FrameTree:
    """The newest transform of every frame to its parent. Times are those of one clock, s."""

    def __init__(self, max_age_s: float) -> None:
        self._max_age_s = max_age_s
        self._edges: dict[str, dict[str, _Edge]] = {}
        """By child, then by parent: two publishers may contradict each other."""
        self._count = 0

    def take(self, message: ros.TransformStamped, *, static: bool, now_s: float) -> str:
        """Keep a transform that came at `now_s`; what is wrong with one that cannot be kept, or nothing."""
        parent, child = _plain(message.header.frame_id), _plain(message.child_frame_id)
        named = f"the transform of frame {shown(child)} to {shown(parent)}"
        moved, turned = message.transform.translation, message.transform.rotation
        position = np.array([moved.x, moved.y, moved.z])
        wxyz = np.array([turned.w, turned.x, turned.y, turned.z])
        length = math.hypot(*wxyz.tolist())
        if not parent or not child or parent == child:
            return f"{named} is not taken: both must have names, and two different ones"
        if not np.isfinite(position).all() or not abs(length - 1) <= _UNIT_TOLERANCE:
            return f"{named} is not taken: its translation is not finite, or its quaternion not of length 1"
        parents = self._edges.get(child, {})
        before = parents.get(parent)
        stamp_s = seconds(message.header.stamp)
        if before is not None and not static and not is_news(stamp_s, before.stamp_s):
            return ""
        if before is None and self._count >= _MOST_TRANSFORMS:
            return f"{named} is not taken: {_MOST_TRANSFORMS} are held already"
        self._count += before is None
        self._edges.setdefault(child, parents)[parent] = _Edge(static, position, wxyz / length, stamp_s, now_s)
        return ""

    def carry(
        self, source: str, target: str, position: Float64, wxyz: Float64, *, now_s: float
    ) -> tuple[Float64, Float64]:
        """A pose of frame `source` as frame `target` has it: position `[3]` m, quaternion wxyz `[4]` of any length.

        Raises `NoTransform` where no transforms lead there, or they contradict each other, or are too old.
        """
        source, target = _plain(source), _plain(target)
        up, down = _Chain(source), _Chain(target)
        for chain in (up, down):
            chain.climb(self, now_s)
        common = next((frame for frame in up.frames if frame in down.frames), None)
        if common is None:
            raise NoTransform(self._why_apart(up, down))
        # Numbers that are no places overflow; what comes out is then not finite, and refused.
        with np.errstate(over="ignore", invalid="ignore"):
            for edge in up.edges_below(common):
                position, wxyz = self._recent(edge, now_s).to_parent(position, wxyz)
            for edge in reversed([*down.edges_below(common)]):
                position, wxyz = self._recent(edge, now_s).to_child(position, wxyz)
        return position, wxyz

    def parent_of(self, child: str, now_s: float) -> tuple[str, str]:
        """The parent of a frame, empty for a root; and what contradicts that, empty for nothing."""
        parents = self._edges.get(child, {})
        live = [name for name, edge in parents.items() if self._is_recent(edge, now_s)]
        if len(live) > 1:
            first, second = sorted(live)[:2]
            return "", (
                f"frame {shown(child)} has two parents, {shown(first)} and {shown(second)}; let only one "
                "publisher tell where it is"
            )
        newest = max(parents, key=lambda name: parents[name].arrived_s, default="")
        return (live[0] if live else newest), ""

    def edge(self, child: str, parent: str) -> _Edge:
        """The newest transform between two frames."""
        return self._edges[child][parent]

    def _is_recent(self, edge: _Edge, now_s: float) -> bool:
        return edge.static or now_s - edge.arrived_s <= self._max_age_s

    def _recent(self, pair: tuple[str, str], now_s: float) -> _Edge:
        child, parent = pair
        edge = self.edge(child, parent)
        if not self._is_recent(edge, now_s):
            raise NoTransform(
                f"the newest transform of frame {shown(child)} to {shown(parent)} came {now_s - edge.arrived_s:.3g} s "
                f"ago, and counts for {self._max_age_s:g} s; is its publisher still running?"
            )
        return edge

    def _why_apart(self, up: _Chain, down: _Chain) -> str:
        known = {*self._edges, *(parent for parents in self._edges.values() for parent in parents)}
        for chain in (up, down):
            if chain.start not in known:
                named = ", ".join(map(shown, sorted(known)[:20])) or "none"
                return f"no transform tells of frame {shown(chain.start)}; known frames: {named}"
        if problem := up.problem or down.problem:
            return problem
        return (
            f"no transforms lead from frame {shown(up.start)} to {shown(down.start)}: they are in two trees, below "
            f"{shown(up.frames[-1])} and {shown(down.frames[-1])}"
        )


class _Chain:
    """The frames from one to its root, as far as nothing contradicts them."""

    def __init__(self, start: str) -> None:
        self.start = start
        self.frames = [start]
        self.problem = ""

    def climb(self, tree: FrameTree, now_s: float) -> None:
        """Fill in `frames`, without those of a loop, and `problem`."""
        while True:
            parent, self.problem = tree.parent_of(self.frames[-1], now_s)
            if not parent:
                return
            if parent in self.frames:
                begin = self.frames.index(parent)
                loop = [*self.frames[begin:], parent]
                self.problem = f"frames {' -> '.join(map(shown, loop[:20]))} form a loop"
                del self.frames[begin:]
                return
            self.frames.append(parent)

    def edges_below(self, ancestor: str) -> Iterator[tuple[str, str]]:
        """Child and parent of every step up to `ancestor`."""
        for child, parent in zip(self.frames, self.frames[1:], strict=False):
            if child == ancestor:
                return
            yield child, parent


def _plain(frame: str) -> str:
    """ROS 1's leading slash means nothing."""
    return frame.removeprefix("/")
