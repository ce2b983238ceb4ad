"""A ring of records in shared memory: one process pushes, another drains, and neither ever waits.

The writer overwrites the oldest record; a reader that falls behind by more than the ring's size counts what it lost.
Each record carries its own sequence number, odd while it is being written, so that a torn copy is noticed.
Arrays are in policy order.
"""

from __future__ import annotations

import json
import mmap
import os
import tempfile
import time
from enum import IntEnum
from typing import Any

import numpy as np

from sim2real.contract import Contract

CAPACITY = 8192
"""Records: five minutes at 25 Hz, eight seconds at 1 kHz."""
_HEADER_BYTES = 64
_MEMORY_BYTES = 256 * 1024


class Kind(IntEnum):
    """What a record tells; everything but `TICK` happened just before the next tick."""

    TICK = 0
    GOAL = 1
    CANCEL = 2
    RESTART = 3
    STOP = 4
    ESTOP = 5
    RELEASE = 6
    IMPOSE = 7
    MEMORY = 8
    """What the control loop remembers after the tick before, see `Ring.memory`; not an event of the loop itself."""


def record_dtype(contract: Contract) -> np.dtype[np.void]:
    """One record; `readings` are laid out by `contract.measured`, `request` by `contract.goal.layout(contract)`.

    Fields of a goal are filled in for `Kind.GOAL`, those of a tick for `Kind.TICK`, `reason` also for `Kind.IMPOSE`
    (0: lifted).
    """
    joints = len(contract.joint_names)
    return np.dtype(
        [
            ("kind", np.uint8),
            ("wall_ns", np.int64),
            ("now_s", np.float64),
            ("goal_number", np.uint64),
            ("goal_id", "S32"),
            ("request", np.float64, (contract.goal.layout(contract).size,)),
            ("position_tolerance_m", np.float64),
            ("angle_tolerance_deg", np.float64),
            ("valid_for_s", np.float64),
            ("speed", np.float64),
            ("tick", np.uint64),
            ("measured_s", np.float64),
            ("readings", np.float64, (contract.measured.size,)),
            ("joint_effort", np.float64, (joints,)),
            ("command", np.float64, (joints,)),
            ("commanding", np.uint8),
            ("state", np.uint8),
            ("reason", np.uint8),
            ("reached", np.uint8),
            ("within_tolerance", np.uint8),
            ("distance_m", np.float64),
            ("angle_deg", np.float64),
            ("reachability", np.float64),
            ("clamped", np.uint64),
            ("missed_periods", np.uint64),
            ("lateness_ns", np.int64),
            ("step_ns", np.int64),
            ("tick_ns", np.int64),
        ]
    )


class Ring:
    """The shared memory; one process pushes, another drains."""

    def __init__(self, descriptor: int, contract: Contract) -> None:
        self.descriptor = descriptor
        dtype = record_dtype(contract)
        self.record = np.zeros(1, dtype)
        """The writer's own copy, filled in before `push`."""
        self.lost = 0
        """Records that this reader never saw."""
        self._map = mmap.mmap(descriptor, ring_bytes(dtype))
        self._written = np.frombuffer(self._map, np.uint64, 1, 0)
        self._sequence = np.frombuffer(self._map, np.uint64, CAPACITY, _HEADER_BYTES)
        start = _HEADER_BYTES + 8 * CAPACITY
        self._shared = np.frombuffer(self._map, dtype, CAPACITY, start)
        self._taken = np.frombuffer(self._map, np.uint64, 1, 8)
        self._asked = np.frombuffer(self._map, np.uint64, 1, 16)
        self._answered = int(self._asked[0])
        memory = start + CAPACITY * dtype.itemsize
        # Of a tick, which is zero while the bytes are being written, and the number of bytes.
        self._memory_head = np.frombuffer(self._map, np.uint64, 2, memory)
        self._memory = memoryview(self._map)[memory + 16 : memory + 16 + _MEMORY_BYTES]
        self._count = int(self._written[0])
        # A reader that takes the place of one that died goes on where that one stopped.
        self._read = int(self._taken[0])

    @classmethod
    def create(cls, contract: Contract) -> Ring:
        """New zeroed memory for a contract's readings and goals; hand `descriptor` to the other process."""
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("shoal-telemetry")
        else:
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        os.ftruncate(descriptor, ring_bytes(record_dtype(contract)))
        return cls(descriptor, contract)

    def push(self) -> None:
        """Publish `record`."""
        slot = self._count % CAPACITY
        self._sequence[slot] = 2 * self._count + 1
        self._shared[slot] = self.record[0]
        self._sequence[slot] = 2 * self._count + 2
        self._count += 1
        self._written[0] = self._count

    def drain(self) -> np.ndarray:
        """All records since the last call, oldest first, copied."""
        written = int(self._written[0])
        if written - self._read > CAPACITY:
            self.lost += written - CAPACITY - self._read
            self._read = written - CAPACITY
        taken = []
        for number in range(self._read, written):
            slot = number % CAPACITY
            copy = self._shared[slot].copy()
            if int(self._sequence[slot]) == 2 * number + 2:
                taken.append(copy)
            else:
                self.lost += 1
        self._read = written
        self._taken[0] = written
        return np.array(taken, self.record.dtype)

    def ask_for_memory(self) -> None:
        """Have the writer push what the control loop remembers: a reader that begins in the middle needs it."""
        self._asked[0] += 1

    @property
    def memory_wanted(self) -> bool:
        """Whether a reader has asked since `push_memory`."""
        return int(self._asked[0]) != self._answered

    def push_memory(self, tick: int, memory: dict[str, Any]) -> None:
        """Publish what the control loop remembers after `tick`, in place of what it did after an earlier one."""
        self._answered = int(self._asked[0])
        data = json.dumps(memory).encode()
        if len(data) > _MEMORY_BYTES:  # of a policy that remembers very much; its recordings do not begin in the middle
            return
        self._memory_head[0] = 0
        self._memory[: len(data)] = data
        self._memory_head[1] = len(data)
        self._memory_head[0] = tick
        record = self.record[0]
        record["kind"], record["wall_ns"], record["tick"] = Kind.MEMORY, time.time_ns(), tick
        self.push()

    def memory(self, tick: int) -> dict[str, Any] | None:
        """The memory that belongs to a `Kind.MEMORY` record; None when that of a later tick has taken its place."""
        data = bytes(self._memory[: int(self._memory_head[1])])
        if int(self._memory_head[0]) != tick:
            return None
        remembered: dict[str, Any] = json.loads(data)
        return remembered

    def close(self) -> None:
        """Close the descriptor; the mapping goes with the last view on it."""
        os.close(self.descriptor)


def ring_bytes(dtype: np.dtype[np.void]) -> int:
    """Size of the shared memory."""
    return _HEADER_BYTES + CAPACITY * (8 + dtype.itemsize) + 16 + _MEMORY_BYTES
