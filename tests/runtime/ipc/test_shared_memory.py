from __future__ import annotations

import math
import mmap
import os
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from runtime.ipc.shared_memory import SharedSlots, Slot, goal_dtype
from sim2real.tasks.task import load_task

CONTRACT = load_task("franka_pose").contract
GOAL_DTYPE = goal_dtype(7)


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
    writer = Pair(SharedSlots.create(CONTRACT).descriptor)
    reader = Pair(os.dup(writer.descriptor))
    yield writer, reader
    writer.close()
    reader.close()


def raw(slots: Pair) -> np.ndarray:
    """The goal slot's bytes, header included."""
    return np.frombuffer(slots._map, np.uint8, Slot.bytes_for(GOAL_DTYPE))


def test_record_arrives_once(sides: tuple[Pair, Pair]) -> None:
    writer, reader = sides
    assert not reader.goal.read()
    writer.goal.value["request"][0, :3] = 0.1, 0.2, 0.3
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


def test_writer_that_overtakes_every_copy_is_given_up_for_this_tick(
    sides: tuple[Pair, Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, reader = sides
    writer.goal.value["number"] = 1
    writer.goal.write()
    assert reader.goal.read()
    writer.goal.write()

    class Overtaken(np.ndarray):
        """Twice rewritten after each copy of it."""

        def __getitem__(self, key: object) -> object:
            writer.goal.write()
            writer.goal.write()
            return super().__getitem__(key)

    monkeypatch.setattr(reader.goal, "_crcs", [crc.view(Overtaken) for crc in reader.goal._crcs])
    assert not reader.goal.read()
    assert reader.goal.value["number"][0] == 1
    assert reader.goal.torn == 1


def test_damaged_record_is_refused_by_its_crc(sides: tuple[Pair, Pair]) -> None:
    writer, reader = sides
    writer.goal.value["number"] = 1
    writer.goal.write()
    raw(writer)[8:] ^= 1
    assert not reader.goal.read()
    assert reader.goal.torn == 1
    writer.goal.write()
    assert reader.goal.read()


@pytest.mark.parametrize("written", [0, 1, 40, GOAL_DTYPE.itemsize])
def test_writer_killed_while_writing_loses_nothing(sides: tuple[Pair, Pair], written: int) -> None:
    writer, reader = sides
    for number in (7, 8):
        writer.goal.value["number"] = number
        writer.goal.write()
    # So far it came with the next record.
    half = (int(writer.goal._number[0]) + 1) % 2
    writer.goal._shared[half][:written] = 0xAB
    for follower in (reader, Pair(os.dup(writer.descriptor))):
        assert follower.goal.read()
        assert follower.goal.value["number"][0] == 8
    follower.goal.value["number"] = 9
    follower.goal.write()
    follower.close()
    assert reader.goal.read()
    assert reader.goal.value["number"][0] == 9


def test_concurrent_reader_sees_whole_records_only(sides: tuple[Pair, Pair]) -> None:
    writer, reader = sides
    finished = threading.Event()

    def write() -> None:
        for number in range(1, 3000):
            writer.goal.value["number"] = number
            writer.goal.value["request"] = number
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
            assert (record["request"] == number).all()
            last = number
    thread.join()
    reader.goal.read()
    assert reader.goal.value["number"][0] == 2999


def test_slots_and_words_do_not_touch_each_other() -> None:
    writer = SharedSlots.create(CONTRACT)
    reader = SharedSlots(os.dup(writer.descriptor), CONTRACT)
    slots = [(slots.requests, slots.status, slots.goals) for slots in (writer, reader)]
    for number, slot in enumerate(slots[0], start=1):
        slot.value.view(np.uint8)[:] = number
        slot.write()
    for beat in (writer.beat_as_listener, writer.beat_as_gateway, writer.beat_as_gateway, writer.count_gateway):
        beat()
    assert writer.ask_for_stop() == 1
    for number, slot in enumerate(slots[1], start=1):
        assert slot.read()
        assert (slot.value.view(np.uint8) == number).all()
    assert (reader.listener_beats, reader.gateway_beats, reader.gateway_starts, reader.stops) == (1, 2, 1, 1)
    writer.close()
    reader.close()
