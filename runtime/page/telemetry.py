"""The robot as the server reports it, polled in a thread."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from typing import NamedTuple

import numpy as np

from runtime.protocol.client import Client
from runtime.protocol.messages import DescriptionReply
from runtime.protocol.snapshot import Snapshot
from sim2real.errors import ShoalError

_POLL_S = 0.05
_RETRY_S = 0.5
_TIMEOUT_S = 1.0
_START_TIMEOUT_S = 10.0
_HOLDER_EVERY = 10
"""How many polls between two questions for the lease's holder."""
HISTORY_S = 30.0
"""How far the plots reach back."""


class Point(NamedTuple):
    """One moment of the plots; NaN where there is nothing."""

    time_s: float
    distance_mm: float
    angle_deg: float
    reachability: float
    tick_us: float


class TelemetryPoller:
    """Polls from `start` on. `latest` is None while the server does not answer; `problem` then says why.

    Raises `ShoalError` when no server answers within ten seconds.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        with Client(address, timeout_s=_START_TIMEOUT_S) as client:
            self.description: DescriptionReply = client.describe()
        self.latest: Snapshot | None = None
        self.problem = ""
        self.lease_holder = ""
        """Name of the client that alone may command; empty when anybody may."""
        self._history: deque[Point] = deque(maxlen=round(HISTORY_S / _POLL_S))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="telemetry", daemon=True)

    def start(self) -> None:
        """Begin to poll."""
        self._thread.start()

    def close(self) -> None:
        """End the thread and its connection."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(2 * _TIMEOUT_S)

    def history(self) -> np.ndarray:
        """`[5, N]`: seconds before now (negative), then the other fields of `Point`."""
        points = np.array(list(self._history), np.float64).reshape(-1, len(Point._fields)).T
        points[0] -= time.monotonic()
        return points[:, points[0] >= -HISTORY_S]

    def _poll(self) -> None:
        with Client(self._address, timeout_s=_TIMEOUT_S) as client:
            for count in itertools.count():
                if self._ended.is_set():
                    return
                try:
                    snapshot = client.telemetry()
                    if count % _HOLDER_EVERY == 0:
                        self.lease_holder = client.lease_holder()
                except ShoalError as error:
                    self.latest, self.problem = None, str(error)
                    self._ended.wait(_RETRY_S)
                    continue
                self.latest, self.problem = snapshot, ""
                self._history.append(_point(snapshot))
                self._ended.wait(_POLL_S)


def _point(snapshot: Snapshot) -> Point:
    status = snapshot.status
    return Point(
        time.monotonic(),
        np.nan if status.distance_m is None else 1e3 * status.distance_m,
        np.nan if status.angle_deg is None else status.angle_deg,
        np.nan if status.reachability is None else status.reachability,
        np.nan if snapshot.tick_us is None else snapshot.tick_us,
    )
