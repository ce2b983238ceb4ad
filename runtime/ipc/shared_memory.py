"""Shared memory between gateway and control loop: requests and the object's place one way, status and
the goals' records the other.

Each slot has one writer and one reader and always holds the latest record. Layout of a slot:

    0   uint64  sequence, odd while the writer is writing
    8   uint32  CRC-32 of the record
    16  bytes   the record, a NumPy structured dtype

A reader copies, then compares sequence and CRC; a torn copy is retried a few times and then given up for this
tick, never waited for. The CRC also catches what a sequence number alone does not on processors that reorder
stores. The memory is an unlinked file whose descriptor the child inherits, so nothing is left behind by a crash.

The requests are everything that clients want, goals included, not a stream of commands: no order is lost when the
loop is late or the gateway dies, and a new gateway goes on from what it finds.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import zlib

import numpy as np

RECORD_OFFSET = 16
MAX_GOALS = 64
"""Goals that are in force or wait for their turn."""
HISTORY = 128
"""Goals whose records clients can see."""
_TRIES = 3
_ALIGNMENT = 64

GOAL_DTYPE = np.dtype(
    [
        ("number", np.uint64),
        ("written_ns", np.int64),
        ("id", "S32"),
        ("position", np.float64, 3),
        ("orientation_wxyz", np.float64, 4),
        ("position_tolerance_m", np.float64),
        ("angle_tolerance_deg", np.float64),
        ("valid_for_s", np.float64),
        ("speed", np.float64),
        ("priority", np.int64),
        ("queue", np.uint8),
        ("stamped", np.uint8),
        ("leased", np.uint8),
    ]
)
"""One goal; `number` 0 is an empty place, `written_ns` is the system's monotonic clock."""

WISHES_DTYPE = np.dtype(
    [
        ("number", np.uint64),
        ("stop", np.uint8),
        ("estop", np.uint64),
        ("release", np.uint64),
        ("lease", "S32"),
        ("lease_name", "S32"),
        ("lease_duration_s", np.float64),
        ("lease_expires_ns", np.int64),
        ("goals", GOAL_DTYPE, MAX_GOALS),
    ]
)
"""Gateway to loop. `number` counts the requests; `estop` and `release` are the numbers of the latest such requests;
a goal that is no longer here is cancelled; `stop` stays 1; `lease_expires_ns` is monotonic, 0 without a lease."""

OBJECT_DTYPE = np.dtype(
    [("source", "S32"), ("seen_ns", np.int64), ("received_ns", np.int64), ("position", np.float64, 3)]
)
"""Gateway to loop: where a tracker saw the object, m, in the contract's goal frame; times are monotonic, 0 before there
was anything."""

STATUS_DTYPE = np.dtype(
    [
        ("goal_number", np.uint64),
        ("written_ns", np.int64),
        ("goal_id", "S32"),
        ("state", np.uint8),
        ("reason", np.uint8),
        ("within_tolerance", np.uint8),
        ("reached", np.uint8),
        ("distance_m", np.float64),
        ("angle_deg", np.float64),
        ("reachability", np.float64),
        ("ticks", np.uint64),
        ("holds", np.uint64),
        ("clamped", np.uint64),
        ("missed_periods", np.uint64),
    ]
)
"""Loop to gateway, every tick. `goal_number` is the latest request taken. Unknown numbers are NaN."""

PROGRESS_DTYPE = np.dtype(
    [
        ("number", np.uint64),
        ("id", "S32"),
        ("state", np.uint8),
        ("why", np.uint8),
        ("priority", np.int64),
        ("accepted_ns", np.int64),
        ("changed_ns", np.int64),
        ("position", np.float64, 3),
        ("orientation_wxyz", np.float64, 4),
        ("distance_m", np.float64),
        ("angle_deg", np.float64),
        ("reachability", np.float64),
        ("time_s", np.float64),
    ]
)
"""One goal's record; times are Unix nanoseconds, unknown numbers NaN."""

GOALS_DTYPE = np.dtype([("in_force", np.uint64), ("goals", PROGRESS_DTYPE, HISTORY)])
"""Loop to gateway, at every change: the goals' records in no order, `number` 0 where there is none;
`in_force` is the number of the goal in force."""


class Slot:
    """One record in shared memory. `value` is this side's own copy, shape `[1]` of the dtype."""

    def __init__(self, buffer: mmap.mmap, offset: int, dtype: np.dtype[np.void]) -> None:
        self.value = np.zeros(1, dtype)
        self.torn = 0
        """Reads given up because the record was being written or did not match its CRC."""
        self._local = self.value.view(np.uint8)
        self._scratch = np.zeros_like(self._local)
        self._local_bytes, self._scratch_bytes = self._local.data, self._scratch.data
        self._sequence = np.frombuffer(buffer, np.uint64, 1, offset)
        self._crc = np.frombuffer(buffer, np.uint32, 1, offset + 8)
        self._shared = np.frombuffer(buffer, np.uint8, dtype.itemsize, offset + RECORD_OFFSET)
        self._seen = 0

    def write(self) -> None:
        """Publish `value`."""
        # A writer that died in the middle left an odd number; the next odd one is then two further.
        writing = (int(self._sequence[0]) + 1) | 1
        self._sequence[0] = writing
        self._shared[:] = self._local
        self._crc[0] = zlib.crc32(self._local_bytes)
        self._sequence[0] = writing + 1

    def read(self) -> bool:
        """Take over a newly published record into `value`; False when there is none or it could not be read."""
        for _ in range(_TRIES):
            before = int(self._sequence[0])
            if before == self._seen:
                return False
            if before % 2:
                continue
            self._scratch[:] = self._shared
            crc = int(self._crc[0])
            if int(self._sequence[0]) == before and zlib.crc32(self._scratch_bytes) == crc:
                self._local[:] = self._scratch
                self._seen = before
                return True
        self.torn += 1
        return False


class SharedSlots:
    """The mapped memory with all slots and the gateway's heartbeat."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        offsets, size = _layout()
        self._map = mmap.mmap(descriptor, size)
        self._heartbeat = np.frombuffer(self._map, np.int64, 1, 0)
        self.requests = Slot(self._map, offsets[0], WISHES_DTYPE)
        self.status = Slot(self._map, offsets[1], STATUS_DTYPE)
        self.goals = Slot(self._map, offsets[2], GOALS_DTYPE)
        self.object = Slot(self._map, offsets[3], OBJECT_DTYPE)

    @classmethod
    def create(cls) -> SharedSlots:
        """New zeroed memory; hand `descriptor` to the other process."""
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("shoal-runtime")
        else:
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        os.ftruncate(descriptor, _layout()[1])
        return cls(descriptor)

    @property
    def heartbeat_ns(self) -> int:
        """When the gateway last said that it is alive, on the monotonic clock; 0 when it has not yet."""
        return int(self._heartbeat[0])

    @heartbeat_ns.setter
    def heartbeat_ns(self, value: int) -> None:
        self._heartbeat[0] = value

    def close(self) -> None:
        """Close the descriptor; the mapping goes with the last view on it."""
        os.close(self.descriptor)


def _layout() -> tuple[list[int], int]:
    """Offsets of the slots, and the size of it all; the heartbeat comes first."""
    offsets, end = [], _ALIGNMENT
    for dtype in (WISHES_DTYPE, STATUS_DTYPE, GOALS_DTYPE, OBJECT_DTYPE):
        offsets.append(end)
        end += -(-(RECORD_OFFSET + dtype.itemsize) // _ALIGNMENT) * _ALIGNMENT
    return offsets, end
