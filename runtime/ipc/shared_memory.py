"""Shared memory between gateway and control loop: requests and the object's place one way, status and the records of
goals the other.

Each slot has one writer and one reader and always holds the latest record. Layout of a slot:

    0    uint64  number of the latest whole record, which is in half 0 or 1: its number modulo 2
    8    half 0: uint32 CRC-32 of the record, begun with its number; 4 bytes unused; bytes of the record's NumPy dtype
    ...  half 1: likewise

A writer fills the half that holds the older record and then moves the number on, so a writer that is killed in the
middle loses nothing: the next one, and every reader, finds the record before it. A reader copies and compares the CRC;
a copy that the writer overtook is retried a few times and then given up for this tick, never waited for. The CRC also
catches what a number alone does not on processors that reorder stores. The memory is an unlinked file whose descriptor
the child inherits, so nothing is left behind by a crash.

What clients want is state, not a stream of commands: no order is lost when the loop is late or the gateway dies, and a
new gateway goes on from what it finds.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import zlib
from enum import IntEnum

import numpy as np

from sim2real.contract import Contract
from sim2real.terms import Layout

_NUMBER_BYTES, _CRC_BYTES = 8, 8
_MAX_CRC = 0xFFFFFFFF
MAX_GOALS = 64
"""Goals that are in force or wait for their turn."""
HISTORY = 128
"""Goals whose records clients can see."""
_TRIES = 3
_ALIGNMENT = 64


def goal_dtype(size: int) -> np.dtype[np.void]:
    """One goal of `size` numbers; `number` 0 is an empty place, `cancelled` the number of the request that cancelled it
    alone, `written_ns` is the system's monotonic clock.
    """
    return np.dtype(
        [
            ("number", np.uint64),
            ("cancelled", np.uint64),
            ("written_ns", np.int64),
            ("id", "S32"),
            ("request", np.float64, (size,)),
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


def requests_dtype(size: int) -> np.dtype[np.void]:
    """Gateway to loop. `number` counts the requests; `estop`, `release` and `cancel` (of all goals) are the numbers of
    the latest such requests; a release holds if the status shows `release_after` stops, or that is negative; goals from
    before an `estop` or a `cancel` are over, and stay here until the loop has seen them; `stop` stays 1;
    `lease_expires_ns` is monotonic, 0 without a lease.
    """
    return np.dtype(
        [
            ("number", np.uint64),
            ("stop", np.uint8),
            ("estop", np.uint64),
            ("release", np.uint64),
            ("cancel", np.uint64),
            ("release_after", np.int64),
            ("lease", "S32"),
            ("lease_name", "S32"),
            ("lease_duration_s", np.float64),
            ("lease_expires_ns", np.int64),
            ("goals", goal_dtype(size), MAX_GOALS),
        ]
    )


def tracked_layout(contract: Contract) -> Layout:
    """The readings that a tracker tells."""
    return Layout.of({reading.name: reading.size for reading in contract.readings if reading.source == "tracker"})


def object_dtype(size: int) -> np.dtype[np.void]:
    """Gateway to loop: what a tracker saw, as laid out by `tracked_layout`; times are monotonic, 0 before there was
    anything.
    """
    seen = [("seen_ns", np.int64), ("received_ns", np.int64), ("values", np.float64, (size,))]
    return np.dtype([("source", "S32"), *seen])


DETAIL_BYTES = 240
"""Of the text that says what is wrong with a reading."""

STATUS_DTYPE = np.dtype(
    [
        ("goal_number", np.uint64),
        ("stops", np.uint64),
        ("written_ns", np.int64),
        ("goal_id", "S32"),
        ("state", np.uint8),
        ("reason", np.uint8),
        ("detail", f"S{DETAIL_BYTES}"),
        ("within_tolerance", np.uint8),
        ("reached", np.uint8),
        ("distance_m", np.float64),
        ("angle_deg", np.float64),
        ("reachability", np.float64),
        ("ticks", np.uint64),
        ("holds", np.uint64),
        ("clamped", np.uint64),
        ("estops", np.uint64),
        ("missed_periods", np.uint64),
    ]
)
"""Loop to gateway and listener, every tick. `goal_number` is the latest request taken, `stops` the latest of
`SharedSlots.stops`. Unknown numbers are NaN."""


def goals_dtype(size: int) -> np.dtype[np.void]:
    """Loop to gateway, at every change: the goals' records in no order, `number` 0 where there is none; `in_force` is
    the number of the goal in force. Times are Unix nanoseconds, unknown numbers NaN.
    """
    progress = [
        ("number", np.uint64),
        ("id", "S32"),
        ("state", np.uint8),
        ("why", np.uint8),
        ("priority", np.int64),
        ("accepted_ns", np.int64),
        ("changed_ns", np.int64),
        ("request", np.float64, (size,)),
        ("distance_m", np.float64),
        ("angle_deg", np.float64),
        ("reachability", np.float64),
        ("time_s", np.float64),
    ]
    return np.dtype([("in_force", np.uint64), ("goals", np.dtype(progress), HISTORY)])


class Slot:
    """One record in shared memory. `value` is this side's own copy, shape `[1]` of the dtype."""

    def __init__(self, buffer: mmap.mmap, offset: int, dtype: np.dtype[np.void]) -> None:
        self.value = np.zeros(1, dtype)
        self.torn = 0
        """Reads given up because the writer kept overtaking them or the record did not match its CRC."""
        self._local = self.value.view(np.uint8)
        self._scratch = np.zeros_like(self._local)
        self._local_bytes, self._scratch_bytes = self._local.data, self._scratch.data
        halves = [offset + _NUMBER_BYTES + half * _half_bytes(dtype) for half in (0, 1)]
        self._number = np.frombuffer(buffer, np.uint64, 1, offset)
        self._crcs = [np.frombuffer(buffer, np.uint32, 1, half) for half in halves]
        self._shared = [np.frombuffer(buffer, np.uint8, dtype.itemsize, half + _CRC_BYTES) for half in halves]
        self._seen = 0

    def write(self) -> None:
        """Publish `value`."""
        number = int(self._number[0]) + 1
        half = number % 2
        self._shared[half][:] = self._local
        self._crcs[half][0] = zlib.crc32(self._local_bytes, number & _MAX_CRC)
        self._number[0] = number

    def read(self) -> bool:
        """Take over a newly published record into `value`; False when there is none or it could not be read."""
        for _ in range(_TRIES):
            number = int(self._number[0])
            if number == self._seen:
                return False
            half = number % 2
            self._scratch[:] = self._shared[half]
            if zlib.crc32(self._scratch_bytes, number & _MAX_CRC) == int(self._crcs[half][0]):
                self._local[:] = self._scratch
                self._seen = number
                return True
        self.torn += 1
        return False

    @staticmethod
    def bytes_for(dtype: np.dtype[np.void]) -> int:
        """Shared memory that a slot of this dtype takes."""
        return _NUMBER_BYTES + 2 * _half_bytes(dtype)


def _half_bytes(dtype: np.dtype[np.void]) -> int:
    return -(-(_CRC_BYTES + dtype.itemsize) // 8) * 8


class SharedSlots:
    """The mapped memory: all slots, and some words that one process writes at a time."""

    def __init__(self, descriptor: int, contract: Contract) -> None:
        self.descriptor = descriptor
        dtypes = _dtypes(contract)
        offsets, size = _layout(dtypes)
        self._map = mmap.mmap(descriptor, size)
        self._words = np.frombuffer(self._map, np.int64, len(_Word), 0)
        slots = [Slot(self._map, offset, dtype) for offset, dtype in zip(offsets, dtypes, strict=True)]
        self.requests, self.status, self.goals, self.object = slots

    @classmethod
    def create(cls, contract: Contract) -> SharedSlots:
        """New zeroed memory for the goals of a contract; hand `descriptor` to the other process."""
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("shoal-runtime")
        else:
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        os.ftruncate(descriptor, _layout(_dtypes(contract))[1])
        return cls(descriptor, contract)

    @property
    def listener_beats(self) -> int:
        """Counts up while the listener process is not stuck."""
        return int(self._words[_Word.LISTENER_BEATS])

    def beat_as_listener(self) -> None:
        """Count a beat of the listener process, which calls this over and over."""
        self._words[_Word.LISTENER_BEATS] += 1

    @property
    def gateway_beats(self) -> int:
        """Counts up while the gateway is not stuck."""
        return int(self._words[_Word.GATEWAY_BEATS])

    def beat_as_gateway(self) -> None:
        """Count a beat of the gateway, which calls this over and over."""
        self._words[_Word.GATEWAY_BEATS] += 1

    @property
    def gateway_starts(self) -> int:
        """How many gateways there have been."""
        return int(self._words[_Word.GATEWAY_STARTS])

    def count_gateway(self) -> None:
        """Count a gateway that the listener process has started."""
        self._words[_Word.GATEWAY_STARTS] += 1

    @property
    def stops(self) -> int:
        """How many emergency stops the listener process has asked for."""
        return int(self._words[_Word.STOPS])

    def ask_for_stop(self) -> int:
        """Ask for a stop, in the listener process; returns what `stops` shows once it is in force."""
        self._words[_Word.STOPS] += 1
        return self.stops

    @property
    def driver_call(self) -> memoryview:
        """One number: which of `runtime.drivers.calls.CALLS` the control process's driver is in."""
        return self._words[_Word.DRIVER_CALL : _Word.DRIVER_CALL + 1].data

    @property
    def control_ends(self) -> bool:
        """Whether the control process has come to its end by itself, and says so."""
        return bool(self._words[_Word.CONTROL_ENDS])

    def say_control_ends(self) -> None:
        """Called by the control process once the robot has been brought to rest."""
        self._words[_Word.CONTROL_ENDS] = 1

    def close(self) -> None:
        """Close the descriptor; the mapping goes with the last view on it."""
        os.close(self.descriptor)


class _Word(IntEnum):
    """Where the words are, in eight bytes each."""

    LISTENER_BEATS = 0
    GATEWAY_BEATS = 1
    GATEWAY_STARTS = 2
    STOPS = 3
    DRIVER_CALL = 4
    CONTROL_ENDS = 5


def _dtypes(contract: Contract) -> list[np.dtype[np.void]]:
    """Layouts of requests, status, goals and object."""
    size = contract.goal.layout(contract).size
    return [requests_dtype(size), STATUS_DTYPE, goals_dtype(size), object_dtype(tracked_layout(contract).size)]


def _layout(dtypes: list[np.dtype[np.void]]) -> tuple[list[int], int]:
    """Offsets of the slots, and the size of it all; the words come first."""
    offsets, end = [], _ALIGNMENT
    for dtype in dtypes:
        offsets.append(end)
        end += -(-Slot.bytes_for(dtype) // _ALIGNMENT) * _ALIGNMENT
    return offsets, end
