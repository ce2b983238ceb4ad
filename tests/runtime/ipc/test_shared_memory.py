from __future__ import annotations

import math
import mmap
import os
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from runtime.ipc.shared_memory import GOAL_DTYPE, RECORD_OFFSET, SharedSlots, Slot


class Pair:
    """One side of a slot for one goal."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._map = mmap.mmap(descriptor, 1024)
        self.goal = Slot(self._map, 0, GOAL_DTYPE)

    def close(self) -> None:
        os.close(self.descriptor)


@pytest.fixture
def sides() -> Iterator[tuple[Pair, Pair]]:
    writer = Pair(SharedSlots.create().descriptor)
    reader = Pair(os.dup(writer.descriptor))
    yield writer, reader
    writer.close()
    reader.close()


def raw(slots: Pair) -> np.ndarray:
    """The goal slot's bytes, header included."""
    return np.frombuffer(slots._map, np.uint8, RECORD_OFFSET + GOAL_DTYPE.itemsize)


def test_record_arrives_once(sides: tuple[Pair, Pair]) -> None:
    writer, reader = sides
    assert not reader.goal.read()
    writer.goal.value["position"][0] = 0.1, 0.2, 0.3
    writer.goal.value["valid_for_s"] = math.inf
    writer.goal.value["id"] = b"abc"
    writer.goal.write()
    assert reader.goal.read()
    np.testing.assert_array_equal(reader.goal.value, writer.goal.value)
    assert not reader.goal.read()


def test_latest_wins(sides: tuple[Pair, Pair]) -> None:
    writer, reader = sides
    for number in (1, 2, 3):
        writer.goal.value["number"] = number
        writer.goal.write()
    assert reader.goal.read()
    assert reader.goal.value["number"][0] == 3


def test_record_being_written_is_left_alone(sides: tuple[Pair, Pair]) -> None:
    writer, reader = sides
    writer.goal.value["number"] = 1
    writer.goal.write()
    assert reader.goal.read()
    writer.goal._sequence[0] += 1
    writer.goal._shared[:] = 0xAB
    assert not reader.goal.read()
    assert reader.goal.value["number"][0] == 1
    assert reader.goal.torn == 1


def test_damaged_record_is_refused_by_its_crc(sides: tuple[Pair, Pair]) -> None:
    writer, reader = sides
    writer.goal.value["number"] = 1
    writer.goal.write()
    raw(writer)[RECORD_OFFSET + 40] ^= 1
    assert not reader.goal.read()
    assert reader.goal.torn == 1
    writer.goal.write()
    assert reader.goal.read()


def test_writer_that_died_while_writing_can_be_followed_by_another(sides: tuple[Pair, Pair]) -> None:
    writer, reader = sides
    writer.goal._sequence[0] = 7
    successor = Pair(os.dup(writer.descriptor))
    successor.goal.value["number"] = 9
    successor.goal.write()
    successor.close()
    assert reader.goal.read()
    assert reader.goal.value["number"][0] == 9


def test_concurrent_reader_sees_whole_records_only(sides: tuple[Pair, Pair]) -> None:
    writer, reader = sides
    finished = threading.Event()

    def write() -> None:
        for number in range(1, 3000):
            writer.goal.value["number"] = number
            writer.goal.value["position"] = number
            writer.goal.value["orientation_wxyz"] = number
            writer.goal.write()
        finished.set()

    thread = threading.Thread(target=write)
    thread.start()
    last = 0
    while not finished.is_set():
        if reader.goal.read():
            record = reader.goal.value[0]
            number = int(record["number"])
            assert number > last
            assert (record["position"] == number).all()
            assert (record["orientation_wxyz"] == number).all()
            last = number
    thread.join()
    reader.goal.read()
    assert reader.goal.value["number"][0] == 2999


def test_slots_and_heartbeat_do_not_touch_each_other() -> None:
    writer = SharedSlots.create()
    reader = SharedSlots(os.dup(writer.descriptor))
    slots = [(slots.requests, slots.status, slots.goals) for slots in (writer, reader)]
    for number, slot in enumerate(slots[0], start=1):
        slot.value.view(np.uint8)[:] = number
        slot.write()
    writer.heartbeat_ns = -1
    for number, slot in enumerate(slots[1], start=1):
        assert slot.read()
        assert (slot.value.view(np.uint8) == number).all()
    assert reader.heartbeat_ns == -1
    writer.close()
    reader.close()
