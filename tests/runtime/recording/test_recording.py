from __future__ import annotations

import dataclasses
import json
import math
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foxglove_schemas_protobuf.Log_pb2 import Log
from foxglove_schemas_protobuf.PoseInFrame_pb2 import PoseInFrame
from hypothesis import given
from hypothesis import strategies as st
from mcap.reader import make_reader
from mcap_protobuf.decoder import DecoderFactory

from runtime.cli import main
from runtime.control.loop import Loop
from runtime.control.policy_controller import PolicyController
from runtime.control.telemetry import Telemetry
from runtime.diagnostics.chaos.scenario import Subject
from runtime.diagnostics.chaos.served.processes import process_scenarios
from runtime.drivers.base import DriverOptions
from runtime.goals.messages import GoalPose
from runtime.goals.resolve import validate_goal
from runtime.inference.policy import Policy
from runtime.ipc import telemetry_ring
from runtime.ipc.telemetry_ring import Kind, Ring
from runtime.recording import replay as replaying
from runtime.recording.schemas import encode
from runtime.recording.views import VIEWS, pose
from runtime.recording.writer import Recorder, require_recordable
from sim2real.contract import Contract
from sim2real.errors import ContractMismatch, ShoalError
from sim2real.logs.log import read_log
from sim2real.logs.recording import Recording, number, read_recording
from sim2real.tasks.task import load_task
from tests.runtime.recording.recorded import FACTS, Faulty, Script, checked_core, record
from tests.runtime.small_policy import write_policy


@given(st.lists(st.floats(width=64), max_size=8))
def test_numbers_survive_json_bit_for_bit(values: list[float]) -> None:
    read = [number(x) for x in json.loads(encode({"values": values}))["values"]]
    np.testing.assert_array_equal(np.array(read), np.array(values))


def test_replay_is_the_same_bit_for_bit_through_faults(policy: Policy, policy_path: Path, tmp_path: Path) -> None:
    core = record(policy, tmp_path / "log.mcap")
    recording = read_recording(tmp_path / "log.mcap")
    assert recording.complete
    reasons = {message["reason"] for message in recording.ticks}
    assert {"no_goal", "following", "reading_not_finite", "reading_stale", "estop", "overruns", "cancelled"} <= reasons
    assert core.safety.holds > 0
    result = replaying.replay(tmp_path / "log.mcap", policy_path)
    assert (result.ticks, result.different, result.lost) == (100, 0, 0)


def test_replay_names_the_tick_and_the_joint_that_differ(policy: Policy, tmp_path: Path) -> None:
    record(policy, tmp_path / "log.mcap")
    recording = read_recording(tmp_path / "log.mcap")
    tick = recording.ticks[10]
    tick["command"][3] += 1e-12
    result = replaying.compare(recording, checked_core(policy))
    # The altered command also is where the next tick starts from.
    assert 1 <= result.different <= 2
    joint, command = policy.contract.joint_names[3], tick["command"][3]
    assert result.first[0].startswith(f"tick {tick['tick']}, following: {joint}: {command!r} recorded, ")
    assert 0 < result.max_difference_rad < 1e-11


def test_viewers_get_foxgloves_messages_with_what_is_known(policy: Policy, tmp_path: Path) -> None:
    record(policy, tmp_path / "log.mcap")
    ticks = read_recording(tmp_path / "log.mcap").ticks
    seen: dict[str, list[Any]] = defaultdict(list)
    views = VIEWS | {"/tool_pose": PoseInFrame}
    with (tmp_path / "log.mcap").open("rb") as file:
        for schema, channel, _, message in make_reader(
            file, decoder_factories=[DecoderFactory()]
        ).iter_decoded_messages(topics=list(views)):
            assert schema is not None
            assert schema.name == views[channel.topic].DESCRIPTOR.full_name
            seen[channel.topic].append(message)

    def times(topic: str) -> list[int]:
        return [message.timestamp.ToNanoseconds() for message in seen[topic]]

    stamps = [10**9 * tick["timestamp"]["sec"] + tick["timestamp"]["nsec"] for tick in ticks]
    assert times("/joint_states") == times("/tool_pose") == stamps
    assert times("/joint_commands") == [t for t, tick in zip(stamps, ticks, strict=True) if tick["commanding"]]
    for tick, states, tool in zip(ticks, seen["/joint_states"], seen["/tool_pose"], strict=True):
        assert [joint.name for joint in states.joints] == list(policy.contract.joint_names)
        shown = [joint.position if joint.HasField("position") else None for joint in states.joints]
        assert shown == tick["joint_position"]  # None in either where a reading was not a number
        assert tool.frame_id == policy.contract.goal.frame
        where, turn = tool.pose.position, tool.pose.orientation
        assert [where.x, where.y, where.z] == tick["end_effector_position"]
        assert [turn.w, turn.x, turn.y, turn.z] == tick["end_effector_orientation"]
    assert [goal.pose.position.y for goal in seen["/goal_pose"]] == pytest.approx([0.088, -0.1])
    warned = [entry.message for entry in seen["/log"] if entry.level == Log.WARNING]
    assert any(message.startswith("estop: ") for message in warned)
    assert any(message.startswith("hold: ") for message in warned)


def test_a_pose_that_is_not_known_is_left_out() -> None:
    assert pose(1, "base", (0.1, math.nan, 0.3)) is None
    assert pose(1, "base", (0.1, 0.2, 0.3)).pose.orientation.w == 1.0


def test_gaps_are_counted_and_bridged(policy: Policy, tmp_path: Path) -> None:
    record(policy, tmp_path / "log.mcap")
    whole = read_recording(tmp_path / "log.mcap")
    kept = [pair for pair in whole.messages if not (pair[0] == "/tick" and 10 <= pair[1]["tick"] < 15)]
    result = replaying.compare(Recording(whole.path, whole.contract, whole.facts, kept, True), checked_core(policy))
    assert result.lost == 5
    assert result.different == 0


def test_recording_of_a_killed_writer_is_read_up_to_its_last_chunk(policy: Policy, tmp_path: Path) -> None:
    record(policy, tmp_path / "log.mcap", ticks=400, close=False)
    content = (tmp_path / "log.mcap").read_bytes()
    (tmp_path / "cut.mcap").write_bytes(content[: len(content) - 100])
    recording = read_recording(tmp_path / "cut.mcap")
    assert not recording.complete
    assert 50 < len(recording.ticks) <= 400
    assert [message["tick"] for message in recording.ticks] == list(range(1, len(recording.ticks) + 1))


@pytest.mark.parametrize("length", [0, 7, 20, 300])
def test_files_that_are_no_recordings_are_refused(policy: Policy, tmp_path: Path, length: int) -> None:
    record(policy, tmp_path / "log.mcap")
    path = tmp_path / "short.mcap"
    path.write_bytes((tmp_path / "log.mcap").read_bytes()[:length])
    refusal = r"not an MCAP file|not a recording of runtime serve|damaged before its contract"
    with pytest.raises(ShoalError, match=refusal):
        read_recording(path)
    path.write_text("something else entirely")
    with pytest.raises(ShoalError, match="not an MCAP file"):
        read_recording(path)
    with pytest.raises(ShoalError, match="no file at"):
        read_recording(tmp_path / "missing.mcap")


def test_recording_of_another_task_is_refused(policy: Policy, tmp_path: Path) -> None:
    record(policy, tmp_path / "log.mcap")
    other = write_policy(tmp_path / "other.onnx", load_task("franka_reach").contract)
    with pytest.raises(ContractMismatch, match=r"goal\.kind"):
        replaying.replay(tmp_path / "log.mcap", other)


def test_full_disk_ends_the_recording_and_nothing_else(policy: Policy, capsys: pytest.CaptureFixture[str]) -> None:
    ring = Ring.create(policy.contract)
    core = PolicyController(policy)
    driver, script = Faulty(policy.contract, DriverOptions(speed=0)), Script()
    loop = Loop(driver, core, script, telemetry=Telemetry(ring, core))
    recorder = Recorder(Path("/dev/full"), policy.contract, FACTS)
    for _ in range(400):
        loop.tick(time.perf_counter_ns())
        recorder.write(ring.drain())
    recorder.close()
    assert recorder.failed
    assert capsys.readouterr().err.count("No space left on device; the robot goes on") == 1
    assert core.safety.ticks == 400


def test_a_folder_that_is_gone_ends_the_recording_and_nothing_else(
    policy: Policy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = Recorder(tmp_path / "gone" / "log.mcap", policy.contract, FACTS)
    ring = Ring.create(policy.contract)
    ring.push()
    recorder.write(ring.drain())
    recorder.close()
    ring.close()
    assert recorder.failed
    assert capsys.readouterr().err.count("No such file or directory") == 1


def test_a_replay_that_compares_nothing_is_a_failure(
    policy: Policy, policy_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(policy, tmp_path / "log.mcap", ticks=0)
    whole = read_recording(tmp_path / "log.mcap")
    assert len(whole.ticks) == 1
    content = (tmp_path / "log.mcap").read_bytes()
    damaged = bytearray(content)
    damaged[content.index(b"zstd") + 20] ^= 0xFF  # within the first chunk
    (tmp_path / "damaged.mcap").write_bytes(damaged)
    recorder = Recorder(tmp_path / "empty.mcap", policy.contract, FACTS)
    recorder.close()
    for name, why in (("empty", ""), ("damaged", "damaged.mcap is damaged (")):
        with pytest.raises(SystemExit) as ended:
            main(["replay", str(tmp_path / f"{name}.mcap"), "--model", str(policy_path)])
        assert ended.value.code == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith(f"error: {name}.mcap: holds no tick that can be recomputed.")
        assert why in said.err
        assert said.err.count("\n") == 1


def test_a_damaged_recording_is_compared_up_to_its_damage(
    policy: Policy, policy_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(policy, tmp_path / "log.mcap", ticks=400)
    content = bytearray((tmp_path / "log.mcap").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "log.mcap").write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        main(["replay", str(tmp_path / "log.mcap"), "--model", str(policy_path)])
    assert ended.value.code == 0
    note, result = capsys.readouterr().out.splitlines()
    assert note.startswith("note: log.mcap is damaged (")
    read = read_recording(tmp_path / "log.mcap")
    assert 50 < len(read.ticks) < 400
    assert result == f"all {len(read.ticks)} commands are the same, bit for bit"


def test_what_a_newer_recording_says_is_named(policy: Policy, tmp_path: Path) -> None:
    record(policy, tmp_path / "log.mcap")
    whole = read_recording(tmp_path / "log.mcap")
    event = {"kind": "teleport", "now_s": 0.0, "goal_number": 0}
    fault = {"kind": "impose", "now_s": 0.0, "goal_number": 0, "reason": "bored"}
    state = whole.ticks[50] | {"state": "dancing", "tick": 4000}
    for topic, message, said in (
        ("/event", event, "unknown event 'teleport'"),
        ("/event", fault, "unknown reason 'bored'"),
        ("/tick", state, "unknown state 'dancing'"),
    ):
        altered = dataclasses.replace(whole, messages=[*whole.messages, (topic, message)])
        with pytest.raises(ShoalError, match=f"{said}; update Shoal"):
            replaying.compare(altered, checked_core(policy))


def test_recordings_are_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "log.mcap").write_text("precious")
    with pytest.raises(ShoalError, match="exists; recordings are never overwritten"):
        require_recordable(tmp_path / "log.mcap")
    with pytest.raises(ShoalError, match=r"--record: there is no folder .*no; create it first"):
        require_recordable(tmp_path / "no" / "folder.mcap")
    with pytest.raises(ShoalError, match=r"--record: cannot write .*: Not a directory"):
        require_recordable(tmp_path / "log.mcap" / "run.mcap")


def test_a_recording_that_may_begin_leaves_nothing_when_it_does_not(tmp_path: Path) -> None:
    require_recordable(tmp_path / "run.mcap")
    assert list(tmp_path.iterdir()) == []


def test_slow_reader_loses_the_oldest_and_counts_them(contract: Contract, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry_ring, "CAPACITY", 8)
    ring = Ring.create(contract)
    reader = Ring(ring.descriptor, contract)
    for tick in range(20):
        ring.record["tick"] = tick
        ring.push()
    assert [int(record["tick"]) for record in reader.drain()] == list(range(12, 20))
    assert reader.lost == 12
    assert len(reader.drain()) == 0
    ring.push()
    assert len(Ring(ring.descriptor, contract).drain()) == 1  # another reader goes on where that stopped
    ring.close()


def test_torn_record_is_lost_not_misread(contract: Contract) -> None:
    ring = Ring.create(contract)
    reader = Ring(ring.descriptor, contract)
    ring.push()
    ring._sequence[0] = 1  # the writer died in the middle of it
    assert len(reader.drain()) == 0
    assert reader.lost == 1
    ring.close()


def test_events_say_what_happened(policy: Policy) -> None:
    ring = Ring.create(policy.contract)
    core = PolicyController(policy)
    Telemetry(ring, core)
    core.set_goal(
        validate_goal(policy.contract, GoalPose(position=(0.4, 0, 0.4), id="a"), time.time()), number=4, now_s=1
    )
    core.cancel_goal(number=5)
    core.stop()
    records = ring.drain()
    assert [Kind(int(record["kind"])) for record in records] == [Kind.GOAL, Kind.CANCEL, Kind.STOP]
    assert bytes(records[0]["goal_id"]) == b"a"
    assert records[0]["goal_number"] == 4
    ring.close()


def test_served_recordings_survive_a_killed_gateway_and_each_stands_alone(policy_path: Path, tmp_path: Path) -> None:
    """While a goal is followed, whose event is in the first file only."""
    (scenario,) = (scenario for scenario in process_scenarios() if scenario.name == "recording continued")
    assert scenario.run_served is not None
    state, problems = scenario.run_served(Subject(Policy(policy_path)), tmp_path)
    assert (state in scenario.ends_in, problems) == (True, [])
    second = read_recording(tmp_path / "run.2.mcap")
    kinds = [message["kind"] for topic, message in second.messages if topic == "/event"]
    assert (kinds[0], "goal" in kinds) == ("memory", False)
    assert {tick["reason"] for tick in second.ticks[:50]} == {"following"}
    assert len(read_log(second.path).goals) == 1
    assert replaying.replay(tmp_path / "run.mcap", policy_path).different == 0
