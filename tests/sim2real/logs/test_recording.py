"""Recordings that are cut off, damaged or made up: what can be read is read, and the rest is one sentence."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, Header, Metadata
from mcap.stream_reader import MAGIC_SIZE
from mcap.writer import Writer

from sim2real.commands.shared import log_of
from sim2real.contract import Contract
from sim2real.errors import ShoalError
from sim2real.logs.log import read_log
from sim2real.logs.recording import METADATA, Recording, read_recording
from sim2real.tasks.task import load_task

CONTRACT = load_task("franka_pose").contract
MAGIC = b"\x89MCAP0\r\n"


def tick(number: int, **changes: Any) -> dict[str, Any]:
    """A message as the runtime writes it."""
    message = {
        "timestamp": {"sec": 1, "nsec": number},
        "tick": number,
        "now_s": 0.04 * number,
        "measured_s": 0.04 * number,
        "goal_number": 0,
        "joint_position": [0.1] * 7,
        "joint_velocity": [0.0] * 7,
        "joint_effort": [None] * 7,
        "end_effector_position": [0.4, 0.0, 0.4],
        "end_effector_orientation": [0.0, 1.0, 0.0, 0.0],
        "object_position": [],
        "command": [0.1] * 7,
        "commanding": True,
        "state": "idle",
        "reason": "no_goal",
        "missed_periods": 0,
        "tick_us": 50.0,
    }
    return message | changes


def written(
    path: Path, messages: Iterable[tuple[str, Any]], *, contract: Contract = CONTRACT, chunk_size: int = 2**16
) -> Path:
    """A complete MCAP file with these messages: plain data, or bytes as they are."""
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=chunk_size, enable_data_crcs=True)
        writer.start(profile="", library="test")
        writer.add_metadata(METADATA, {"contract": contract.canonical_json})
        channels = {topic: writer.register_channel(topic, "json", 0) for topic in ("/tick", "/event")}
        for topic, message in messages:
            data = message if isinstance(message, bytes) else json.dumps(message).encode()
            writer.add_message(channels[topic], 0, data, 0)
        writer.finish()
    return path


def ticks(*numbers: int) -> list[tuple[str, Any]]:
    return [("/tick", tick(number)) for number in numbers]


def read_parts(path: Path) -> Recording:
    """A recording that must be known to be damaged."""
    recording = read_recording(path)
    assert not recording.complete
    assert recording.note.startswith(f"{path.name} is damaged ({recording.damage}): ")
    return recording


def test_a_complete_recording(tmp_path: Path) -> None:
    recording = read_recording(written(tmp_path / "a.mcap", ticks(1, 2, 3)))
    assert recording.complete
    assert recording.note == ""
    assert [message["tick"] for message in recording.ticks] == [1, 2, 3]


def test_a_file_that_stops_is_not_called_damaged(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mcap", ticks(*range(1, 200)), chunk_size=4096)
    content = path.read_bytes()
    for length in range(MAGIC_SIZE, len(content), 97):
        path.write_bytes(content[:length])
        try:
            recording = read_recording(path)
        except ShoalError:
            assert length < len(content) // 2  # the contract is not whole yet
            continue
        assert not recording.complete
        assert recording.damage == ""
        assert f"stops where its writer was killed: {len(recording.ticks)} ticks" in recording.note


@pytest.mark.parametrize(
    ("message", "damage"),
    [
        (tick(2, joint_position=[0.1] * 6), "joint_position has 6 numbers, by the contract 7"),
        (tick(2, command=[]), "command has 0 numbers, by the contract 7"),
        (tick(2, end_effector_position=[]), "end_effector_position has 0 numbers, by the contract 3"),
        (tick(2, joint_position=["0.1"] * 7), "joint_position.0: input should be a valid number"),
        (tick(2, now_s=[1.0]), "now_s: input should be a valid number"),
        (tick(2, commanding=1), "commanding: input should be a valid boolean"),
        (tick(2, tick=-1), "tick: input should be greater than or equal to 0"),
        (tick(2, tick=2**63), "tick: input should be less than"),
        (tick(2, tick=1.5), "tick: input should be a valid integer"),
        (tick(2, state=None), "state: input should be a valid string"),
        (tick(1), "tick 1 comes after tick 1"),
        ({"tick": 2}, "now_s is missing"),
        ([], "must hold keys and values"),
        (b"\xff", "invalid JSON"),
        (b'{"tick":2,', "invalid JSON"),
        (b"[" * 100_000, "recursion limit exceeded"),
        (b'"' + b"x" * 300_000 + b'"', "has 300002 bytes"),
    ],
)
def test_a_message_that_is_none_ends_what_is_read(tmp_path: Path, message: Any, damage: str) -> None:
    path = written(tmp_path / "a.mcap", [*ticks(1), ("/tick", message), *ticks(3)])
    recording = read_parts(path)
    assert damage in recording.damage
    assert recording.damage.startswith("message 2, /tick: ")
    assert len(recording.damage) < 1000
    assert len(recording.ticks) == 1


@pytest.mark.parametrize(
    "event",
    [
        {"kind": "goal", "now_s": 0.0, "goal_number": 1},
        {"kind": "goal", "now_s": 0.0, "goal_number": 1, "goal_id": "a", "position": [0.1]},
        {"kind": "impose", "now_s": None, "goal_number": 1},
        {"kind": 3, "now_s": None, "goal_number": 1},
    ],
)
def test_an_event_that_is_none_ends_what_is_read(tmp_path: Path, event: dict[str, Any]) -> None:
    recording = read_parts(written(tmp_path / "a.mcap", [*ticks(1), ("/event", event), *ticks(2)]))
    assert recording.damage.startswith("message 2, /event: ")
    assert len(recording.ticks) == 1


def test_flipped_bits_are_noticed_wherever_they_are(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mcap", ticks(*range(1, 60)), chunk_size=4096)
    content = path.read_bytes()
    # What comes after is the index, which nothing here reads.
    end_of_data = content.rindex(struct.pack("<BQ", Opcode.DATA_END, 4))
    for place in range(0, end_of_data, 53):
        damaged = bytearray(content)
        damaged[place] ^= 0x10
        path.write_bytes(damaged)
        try:
            recording = read_recording(path)
        except ShoalError:
            continue
        assert not recording.complete, place
        # A whole chunk may be missing, and no number in what is there may be another one.
        assert recording.ticks == [tick(message["tick"]) for message in recording.ticks], place


def test_damage_before_the_contract_is_called_damage(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mcap", ticks(1, 2))
    damaged = bytearray(path.read_bytes())
    damaged[MAGIC_SIZE + 8] ^= 0x10  # the length of the first record
    path.write_bytes(damaged)
    with pytest.raises(ShoalError, match=r"a.mcap: damaged before its contract: "):
        read_recording(path)


def test_sizes_that_a_file_claims_are_not_believed(tmp_path: Path) -> None:
    """Gigabytes in a record's length, a chunk's size, or what a small chunk unpacks to."""
    attachments = struct.pack("<BQ", Opcode.ATTACHMENT, 0) * 100_000
    channels = record(Channel(1, "/else", "json", {}, 0)) * 20_000
    bomb = zstandard.compress(b"\0" * (64 * 2**20))
    for name, body, damage in (
        ("length", struct.pack("<BQ", Opcode.CHUNK, 2**62), "exceeds limit"),
        ("string", struct.pack("<BQI", Opcode.METADATA, 40, 2**32 - 1), ""),
        ("claim", chunk(bomb, 2**40), "a chunk claims to hold 1099511627776 bytes"),
        ("bomb", chunk(bomb, 64 * 2**20), "a chunk claims to hold 67108864 bytes"),
        ("more than said", chunk(bomb, 1000), "does not hold the 1000 bytes"),
        ("less than said", chunk(zstandard.compress(b"\0" * 10), 1000), "does not hold the 1000 bytes"),
        (
            "many bombs",
            chunk(zstandard.compress(attachments), len(attachments)) * 100,
            "a chunk holds a record of type 9",
        ),
        ("many channels", chunk(zstandard.compress(channels), len(channels)) * 100, "a chunk claims to hold"),
        ("another kind", chunk(b"\0" * 10, 10, compression="lz4"), "'lz4'; only zstd is read"),
        ("no frame", chunk(b"\0" * 10, 10), "zstd"),
    ):
        path = tmp_path / f"{name}.mcap"
        path.write_bytes(MAGIC + head() + body + b"\0" * 100)
        tracemalloc.start()
        recording = read_recording(path)
        assert tracemalloc.get_traced_memory()[1] < 2**27, name
        tracemalloc.stop()
        assert damage in recording.damage, name
        assert not recording.complete


def head() -> bytes:
    """The records before the first chunk."""
    return record(Header("", "")) + record(Metadata(METADATA, {"contract": CONTRACT.canonical_json}))


def chunk(data: bytes, size: int, compression: str = "zstd") -> bytes:
    return record(Chunk(compression, data, 0, 0, 0, size))


def record(record: Any) -> bytes:
    from mcap.data_stream import RecordBuilder

    builder = RecordBuilder()
    record.write(builder)
    return builder.end()


def test_channels_without_end(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    path.write_bytes(MAGIC + head() + record(Channel(1, "/tick", "json", {"a": "b"}, 0))[:-3])
    assert not read_recording(path).complete


def test_a_log_needs_one_tick_in_which_everything_is_known(tmp_path: Path) -> None:
    with pytest.raises(ShoalError, match="no tick of this recording commanded the robot"):
        read_log(written(tmp_path / "none.mcap", []))
    for name, value in (("nan", None), ("huge", 1e300)):
        path = written(tmp_path / f"{name}.mcap", [("/tick", tick(1, joint_position=[value] * 7))])
        with pytest.raises(ShoalError, match="in no tick of this recording all numbers are known"):
            read_log(path)
        path = written(tmp_path / f"{name}-2.mcap", [("/tick", tick(1, now_s=value)), *ticks(2)])
        assert len(read_log(path)) == 1


def test_the_damage_of_a_recording_travels_with_its_log(tmp_path: Path) -> None:
    log = read_log(written(tmp_path / "a.mcap", [*ticks(1, 2), ("/tick", b"\xff"), *ticks(3)]))
    assert len(log) == 2
    assert log.note.startswith("a.mcap is damaged (message 3, /tick: the file: invalid JSON")


def test_what_is_no_recording(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    for content in (b"", b"\x89MCAP0\r\n", b"text", MAGIC + record(Header("", "")) + b"\0" * 50):
        path.write_bytes(content)
        with pytest.raises(ShoalError, match=r"not an MCAP file|not a recording of runtime serve"):
            read_recording(path)
    with pytest.raises(ShoalError, match="no file at"):
        read_recording(tmp_path)
    buffer = io.BytesIO()
    writer = Writer(buffer)
    writer.start(profile="", library="test")
    writer.add_metadata(METADATA, {"contract": '{"schema_version": 1}'})
    writer.finish()
    path.write_bytes(buffer.getvalue())
    with pytest.raises(ShoalError, match="the contract inside is damaged"):
        read_recording(path)


def test_commands_say_what_a_recording_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = load_task("franka_pose")
    assert len(log_of(written(tmp_path / "a.mcap", [*ticks(1, 2), ("/tick", b"\xff")]), task)) == 2
    assert capsys.readouterr().err.startswith("note: a.mcap is damaged (message 3, /tick: ")
    log_of(written(tmp_path / "b.mcap", ticks(1, 2)), task)
    assert capsys.readouterr().err == ""
