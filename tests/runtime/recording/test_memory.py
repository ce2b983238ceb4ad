"""A control loop goes on from another one's memory, at any tick, and a recording that begins there replays alone."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.control.loop import Loop
from runtime.control.policy_controller import PolicyController
from runtime.control.telemetry import Telemetry
from runtime.drivers.base import DriverOptions
from runtime.inference.policy import Policy
from runtime.ipc.telemetry_ring import Kind, Ring
from runtime.monitoring.telemetry_reader import TelemetryReader
from runtime.monitoring.telemetry_sink import TelemetrySink
from runtime.recording import replay as replaying
from runtime.recording.schemas import encode
from runtime.recording.writer import Recorder
from sim2real.errors import ShoalError
from sim2real.logs.log import Log
from sim2real.logs.recording import Recording, read_recording
from tests.runtime.recording.recorded import FACTS, Faulty, Script, checked_core

TICKS = 110
FOLLOWED = 40
"""Messages after a memory: more than any timer of the safety layer lasts, at the rate of this policy."""


class Pausing(Script):
    """The script, with a look at what the loop remembers after every tick."""

    def __init__(self) -> None:
        super().__init__()
        self.memories: list[dict[str, Any]] = []

    def after_tick(self, core: PolicyController, missed_periods: int) -> None:
        self.memories.append(core.memory())


@pytest.fixture(scope="module")
def remembered(policy_path: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Recording, list[dict[str, Any]]]:
    """A recording of all kinds of faults, and the memory after each of its ticks, as it comes out of a file."""
    path, policy = tmp_path_factory.mktemp("recording") / "log.mcap", Policy(policy_path)
    ring, core, script = Ring.create(policy.contract), checked_core(policy), Pausing()
    driver = Faulty(policy.contract, DriverOptions(speed=0))
    Loop(driver, core, script, telemetry=Telemetry(ring, core)).run(lambda: script.tick >= TICKS)
    recorder = Recorder(path, policy.contract, FACTS | {"engine": policy.engine})
    recorder.write(ring.drain())
    recorder.close()
    ring.close()
    return read_recording(path), [json.loads(encode(memory)) for memory in script.memories]


def test_whatever_happens_a_loop_goes_on_alike_from_any_tick(
    remembered: tuple[Recording, list[dict[str, Any]]], policy: Policy
) -> None:
    """Ramp-ins, holds, frozen and late readings, goals that run out, an emergency stop and an imposed fault."""
    recording, memories = remembered
    for tick, memory in list(enumerate(memories, 1))[1:-1]:
        index = next(i for i, (topic, message) in enumerate(recording.messages) if message.get("tick") == tick)
        event = {"kind": "memory", "now_s": 0.0, "goal_number": 0, "tick": tick, "memory": memory}
        later = recording.messages[index + 1 : index + 1 + FOLLOWED]
        messages = [recording.messages[index], ("/event", event), *later]
        result = replaying.compare(dataclasses.replace(recording, messages=messages), checked_core(policy))
        assert result.compared == [topic for topic, _ in later].count("/tick")
        assert (tick, result.first) == (tick, [])


class Direct(TelemetrySink):
    """Without a thread, so that these runs come out the same every time."""

    def __init__(self, update: Callable[[np.ndarray, int], None]) -> None:
        self.put = update


class Restarting(Script):
    """The script, in the course of which the gateway that records is killed and another one takes its place."""

    def __init__(self, ring: Ring, policy: Policy, path: Path, *, killed_at: int) -> None:
        super().__init__()
        self._ring, self._policy, self._path, self._killed_at = ring, policy, path, killed_at
        self.start()

    def start(self) -> None:
        policy = self._policy
        ring = Ring(self._ring.descriptor, policy.contract)
        self.recorder = Recorder(self._path, policy.contract, FACTS | {"engine": policy.engine})
        self.reader = TelemetryReader(ring, policy.contract, sinks=[Direct(self.recorder.follow(ring))])

    def after_tick(self, core: PolicyController, missed_periods: int) -> None:
        if self.tick == self._killed_at:
            self.start()
        if self.tick % 3 == 0:
            self.reader.drain()


@pytest.mark.parametrize("killed_at", [20, 35, 57, 72, 80])
def test_what_a_second_gateway_records_stands_alone(
    policy: Policy, policy_path: Path, tmp_path: Path, killed_at: int
) -> None:
    ring, core = Ring.create(policy.contract), checked_core(policy)
    script = Restarting(ring, policy, tmp_path / "log.mcap", killed_at=killed_at)
    driver = Faulty(policy.contract, DriverOptions(speed=0))
    Loop(driver, core, script, telemetry=Telemetry(ring, core)).run(lambda: script.tick >= TICKS)
    script.reader.drain()
    script.recorder.close()
    ring.close()
    result = replaying.replay(tmp_path / "log.2.mcap", policy_path)
    assert result.first == []
    assert killed_at - 3 <= result.lost < killed_at
    assert result.ticks >= TICKS - killed_at
    assert result.ticks - result.compared <= 5
    log = Log.of(read_recording(tmp_path / "log.2.mcap"))
    given = [0.1 - 0.004 * tick for tick in (3, 50)]
    in_force = {20: given, 35: given, 57: given[1:], 72: [], 80: []}[killed_at]
    assert [goal.request[1] for goal in log.goals] == pytest.approx(in_force)


def test_lost_records_are_followed_by_what_the_loop_remembers(
    policy: Policy, policy_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.ipc.telemetry_ring.CAPACITY", 16)

    class Slow(Restarting):
        def after_tick(self, core: PolicyController, missed_periods: int) -> None:
            if self.tick % 25 == 0 or self.tick % 25 < 5:
                self.reader.drain()

    ring, core = Ring.create(policy.contract), checked_core(policy)
    script = Slow(ring, policy, tmp_path / "log.mcap", killed_at=0)
    driver = Faulty(policy.contract, DriverOptions(speed=0))
    Loop(driver, core, script, telemetry=Telemetry(ring, core)).run(lambda: script.tick >= 60)
    script.reader.drain()
    script.recorder.close()
    ring.close()
    result = replaying.replay(tmp_path / "log.mcap", policy_path)
    assert result.first == []
    assert result.lost > 0
    assert result.compared > 10


def test_a_memory_that_is_no_longer_there_is_not_taken_for_another_ticks(policy: Policy) -> None:
    ring = Ring.create(policy.contract)
    reader = Ring(ring.descriptor, policy.contract)
    assert not ring.memory_wanted
    reader.ask_for_memory()
    assert ring.memory_wanted
    ring.push_memory(3, {"a": 1})
    assert not ring.memory_wanted
    ring.push_memory(4, {"a": 2})
    assert [int(record["kind"]) for record in reader.drain()] == [Kind.MEMORY] * 2
    assert reader.memory(3) is None
    assert reader.memory(4) == {"a": 2}
    ring.push_memory(5, {"a": "x" * 300_000})  # more than there is room for: none is better than half of one
    assert len(reader.drain()) == 0
    ring.close()


def test_policies_that_remember_go_on_with_their_history(policy: Policy) -> None:
    first, second = PolicyController(policy), PolicyController(policy)
    for core in (first, second):
        core._history = np.zeros(5, np.float32)
    first._history[:] = [0.1, -1e-20, 3e30, 0.0, -0.0]
    second.recall(json.loads(encode(first.memory())))
    np.testing.assert_array_equal(second._history, first._history)


@pytest.mark.parametrize("damage", [{}, {"goal": None}, {"safety": 3}, {"safety": {}}, {"goal": {"request": [1, 2]}}])
def test_the_memory_of_another_version_is_named(
    remembered: tuple[Recording, list[dict[str, Any]]], policy: Policy, damage: dict[str, Any]
) -> None:
    recording, memories = remembered
    memory = {"goal": None} if not damage else memories[40] | damage if damage != {"goal": None} else {"goal": None}
    event = {"kind": "memory", "now_s": 0.0, "goal_number": 0, "tick": 41, "memory": memory}
    messages = [("/tick", recording.ticks[40]), ("/event", event), ("/tick", recording.ticks[41])]
    with pytest.raises(ShoalError, match="after tick 41 is not what this version remembers"):
        replaying.compare(dataclasses.replace(recording, messages=messages), checked_core(policy))
