"""Records, bytes and checksums against cyclonedds' own serializer, a peer's definitions and the robot maker's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from runtime.unitree.dds.messages import LOW_CMD, LOW_STATE, SPORT_MODE_STATE, LowCmd, LowState, SportModeState
from runtime.unitree.dds.packets import Numbers, Packet, checksum
from sim2real.errors import ShoalError
from tests.runtime.unitree import peer

KINDS = {"LowCmd": LOW_CMD, "LowState": LOW_STATE, "SportModeState": SPORT_MODE_STATE}
BLANK: dict[str, Any] = {
    "LowCmd": peer.blank_command(),
    "LowState": peer.blank_state(),
    "SportModeState": peer.blank_where(1.0, 2.0, 0.5),
}


def filled(name: str, seed: int = 0) -> Packet:
    """Random numbers in every field, floats among them, and the motors' temperatures as a robot has them."""
    rng, packet = np.random.default_rng(seed), Packet(KINDS[name])
    _fill(packet.record, rng)
    return packet


def _fill(array: np.ndarray, rng: np.random.Generator) -> None:
    for field in array.dtype.names or ():
        part = array[field]
        if part.dtype.fields is not None:
            _fill(part, rng)
        elif part.dtype.kind == "f":
            part[...] = rng.normal(size=part.shape)
        else:
            part[...] = rng.integers(0, 100 if part.dtype.itemsize == 1 else 30_000, part.shape)


@pytest.mark.parametrize("name", KINDS)
def test_what_cyclonedds_writes_is_read_and_written_byte_for_byte(name: str) -> None:
    theirs = type(BLANK[name]).deserialize(filled(name).cdr())
    data = theirs.serialize()
    packet = Packet.from_cdr(KINDS[name], data, name)
    assert packet.cdr() == data == filled(name).cdr()
    if name == "LowCmd":
        assert packet["motor_cmd"]["q"].tolist() == [motor.q for motor in theirs.motor_cmd]
        assert packet["gpio"] == theirs.gpio
    if name == "LowState":
        assert packet["motor_state"]["dq"].tolist() == [motor.dq for motor in theirs.motor_state]
        assert packet["imu_state"]["gyroscope"].tolist() == list(theirs.imu_state.gyroscope)
        assert packet["tick"] == theirs.tick
    if name == "SportModeState":
        assert packet["position"].tolist() == list(theirs.position)
        assert packet["path_point"]["vyaw"].tolist() == [point.vyaw for point in theirs.path_point]


@pytest.mark.parametrize("name", ["LowCmd", "LowState"])
def test_checksums_are_those_of_a_bitwise_one(name: str) -> None:
    for seed in range(3):
        packet = filled(name, seed)
        theirs = type(BLANK[name]).deserialize(packet.cdr())
        assert packet.checksum() == peer.checksum(theirs)
        assert not packet.is_whole
        packet.seal()
        assert packet.is_whole
        assert packet["crc"] == peer.checksum(theirs)


def test_numbers_and_checksum_come_straight_from_the_bytes() -> None:
    packet, slots = filled("LowState"), [7, 0, 19]
    packet.seal()
    data = packet.cdr()
    wanted = Numbers(LOW_STATE, ("motor_state", "dq", slots), ("imu_state", "quaternion"), ("power_a",))
    expected = [*packet["motor_state"]["dq"][slots], *packet["imu_state"]["quaternion"], packet["power_a"]]
    assert wanted.floats(data).tolist() == [float(value) for value in expected]
    assert Numbers(LOW_STATE, ("tick",)).integer(data) == packet["tick"]
    assert checksum(LOW_STATE, data) == packet.checksum() == Numbers(LOW_STATE, ("crc",)).integer(data)
    for byte in range(4, len(data) - 4, 11):
        damaged = bytearray(data)
        damaged[byte] ^= 0x10
        packet_there = Packet.from_cdr(LOW_STATE, bytes(damaged), "LowState")
        assert checksum(LOW_STATE, bytes(damaged)) == packet_there.checksum()


def test_any_bit_that_turns_over_is_noticed() -> None:
    packet = filled("LowCmd")
    packet.seal()
    for byte in range(0, LOW_CMD.itemsize - 4, 7):
        damaged = Packet(LOW_CMD)
        damaged.record[...] = packet.record
        damaged.record.view(np.uint8)[byte] ^= 1 << (byte % 8)
        assert not damaged.is_whole, byte


@pytest.mark.parametrize("name", KINDS)
def test_the_maker_s_own_package_agrees(name: str) -> None:
    default = pytest.importorskip("unitree_sdk2py.idl.default")
    crc = pytest.importorskip("unitree_sdk2py.utils.crc")
    kind = type(getattr(default, f"unitree_go_msg_dds__{name}_")())
    packet = filled(name)
    theirs = kind.deserialize(packet.cdr())
    assert theirs.serialize() == packet.cdr()
    if "crc" in (KINDS[name].names or ()):
        assert crc.CRC().Crc(theirs) == packet.checksum()


@pytest.mark.parametrize("kind", [LowCmd, LowState, SportModeState])
def test_topics_types_are_the_peer_s(kind: Any) -> None:
    """DDS lets two types meet by their names and by what they are made of, which their type objects tell."""
    theirs = type(BLANK[kind.__name__.rstrip("_")])
    for each in (kind, theirs):
        each.__idl__.populate()
        each.__idl__.fill_type_data()
    assert kind.__idl_typename__.replace(".", "::") == theirs.__idl_typename__.replace(".", "::")
    assert kind.__idl__.get_type_info().serialize() == theirs.__idl__.get_type_info().serialize()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "encapsulated as nothing"),
        (b"\x00\x00\x00\x00" + bytes(900), "encapsulated as 0000"),
        (b"\x00\x01\x00\x00" + bytes(100), "it has 100 bytes, not 808"),
    ],
)
def test_bytes_that_are_no_message_are_refused(data: bytes, problem: str) -> None:
    with pytest.raises(ShoalError, match=problem):
        Packet.from_cdr(LOW_CMD, data, "unitree_go/LowCmd")
