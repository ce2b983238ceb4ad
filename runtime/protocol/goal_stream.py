"""Poses at 10 to 60 Hz as goals of a served policy, followed smoothly.

    with GoalStream() as stream:
        while teleoperating:
            stream.send(hand_position, hand_orientation_wxyz)   # never waits

A thread sends goals that lie on a smooth way through the poses. When poses stop, or this process does, the last goal
expires and the robot holds its position; it goes on with the next pose.
"""

from __future__ import annotations

import threading
import time
from typing import Self

from runtime.goals.following import Limits, PoseFollower
from runtime.goals.messages import GoalPose, GoalRefused
from runtime.protocol.client import Client
from sim2real.contract import Quaternion, Vector3
from sim2real.errors import ShoalError


class GoalStream:
    """A connection of its own to the server at `address`; see `runtime.protocol.client.Client`.

    Without a new pose for `gap_s` goals stop. Raises `ShoalError` at `send` once the server cannot be reached;
    `refused` says why the last goal was not taken, if it was not.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        token: str = "",
        limits: Limits | None = None,
        rate_hz: float = 50.0,
        gap_s: float = 0.3,
    ) -> None:
        if not (rate_hz > 0 and gap_s > 0):
            raise ShoalError(f"goal stream: rate_hz {rate_hz:g} and gap_s {gap_s:g} should be positive.")
        self.refused = ""
        self._follower = PoseFollower(limits or Limits())
        self._period_s, self._gap_s = 1 / rate_hz, gap_s
        self._client = Client(address, token=token)
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._failure: ShoalError | None = None
        self._thread = threading.Thread(target=self._run, name="goal stream", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def send(self, position: Vector3, orientation_wxyz: Quaternion | None = None) -> None:
        """A new pose, m in the policy's goal frame and a unit quaternion."""
        if self._failure is not None:
            raise self._failure
        pose = GoalPose(position=position, orientation_wxyz=orientation_wxyz)
        with self._lock:
            self._follower.target(pose.position, pose.orientation_wxyz, time.monotonic())

    def close(self) -> None:
        """End the connection; the last goal expires."""
        self._ended.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._ended.wait(max(0.0, due - time.monotonic())):
            due = max(due + self._period_s, time.monotonic())
            now = time.monotonic()
            with self._lock:
                if now - self._follower.came_s > self._gap_s:
                    continue
                position, orientation = self._follower.at(now)
            try:
                self._client.send_goal(GoalPose(position=position, orientation_wxyz=orientation, timeout_s=self._gap_s))
                self.refused = ""
            except GoalRefused as error:
                self.refused = str(error)
            except ShoalError as error:
                self._failure = error
                return
