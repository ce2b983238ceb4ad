"""Parsers of what arrives through sockets and DDS."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import numpy as np

from benchmarks.transport.fuzzing.damage import Damage
from benchmarks.transport.fuzzing.parser import Parse, Parser
from runtime.goals.messages import parse_any_goal
from runtime.goals.resolve import validate_goal
from runtime.inference.policy import Policy
from runtime.policy_server.greeting import Hello
from runtime.policy_server.messagepack import pack
from runtime.policy_server.packets import HEADER, MAGIC, VERSION, memory_of, request_dtype
from runtime.policy_server.server import PacketPeer
from runtime.policy_server.session import Session
from runtime.policy_server.websocket import WebsocketPeer
from runtime.protocol.messages import MAX_LINE_BYTES, GoalRequest, parse_reply, parse_request
from sim2real.contract import Contract

MODEL = Path(__file__).parents[3] / "models" / "franka_pose.onnx"

GOAL = {"position": [0.5, 0.1, 0.4], "orientation_wxyz": [0, 1, 0, 0], "timeout_s": 3, "id": "a", "speed": 0.5}
_REQUESTS: list[dict[str, Any]] = [
    {"v": 2, "type": "goal", "goal": GOAL, "lease": "x"},
    {"v": 2, "type": "goal", "goal": {"position": [0.5, 0.1, 0.4], "rpy": [3.1, 0, 0.2], "stamp": 1.7e9}},
    {"v": 2, "type": "goal", "goal": {"joints": {f"fr3_joint{i}": 0.1 for i in range(1, 8)}, "queue": True}},
    {"v": 2, "type": "goal", "goal": {"planar": [0.5, 0.1, 0.3], "height_m": 0.3, "priority": 3}},
    {"v": 2, "type": "goal", "goal": {"object_position": [0.5, 0.1, 0.3], "standoff_m": 0.1, "approach": [0, 0, -1]}},
    {"v": 2, "type": "object", "position": [0.5, 0.1, 0.04], "stamp": 3.5, "source": "camera"},
    {"v": 2, "type": "lease", "action": "acquire", "name": "page", "duration_s": 5},
    {"v": 2, "type": "hello", "token": "0123456789abcdef"},
    {"v": 2, "type": "cancel", "id": "a"},
    {"v": 2, "type": "estop"},
]
_STATUS = {"state": "idle", "reason": "no goal was given yet", "distance_m": None}
_REPLIES: list[dict[str, Any]] = [
    {"v": 2, "type": "accepted", "id": "a", "number": 3},
    {"v": 2, "type": "refused", "reason": "no"},
    {"v": 2, "type": "lease", "lease": "abc", "expires_in_s": 2.0},
    {"v": 2, "type": "goals", "number": 1, "goals": []},
    {"v": 2, "type": "status", "status": _STATUS, "lease_holder": "x", "lease_remaining_s": 1.0},
]
_DTYPES = (
    "07",
    "|i1",
    "<f2",
    "<f16",
    ">f8",
    "|O",
    "|V8",
    "<c16",
    "<M8",
    "<U4",
    "(2)f",
    "f,f",
    "",
    "bool",
    "3",
    "<i8",
    7,
)
_SIZES = (0, 1, -1, 2, 7, 2**31, 2**62)
_HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: robot\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


@cache
def policy() -> Policy:
    """One that ships; its arrays are shared by all sessions."""
    return Policy(MODEL)


def contract() -> Contract:
    """Contract of that policy."""
    return policy().contract


def json_text(damage: Damage, value: Any) -> bytes:
    """JSON in UTF-8, which a lone surrogate is not."""
    return json.dumps(value, ensure_ascii=damage.rng.random() < 0.5).encode("utf-8", "surrogatepass")


def damaged_json(damage: Damage, values: Sequence[Any]) -> bytes:
    """One of the values with a damaged tree, or damaged as text, or both."""
    value = damage.rng.choice(values)
    if damage.rng.random() < 0.7:
        value = damage.tree(value)
    text = json_text(damage, value)
    return damage.content(text) if damage.rng.random() < 0.4 else text


@contextmanager
def _requests() -> Iterator[Parse]:
    def parse(line: bytes) -> object:
        request = parse_request(line[:MAX_LINE_BYTES])
        if not isinstance(request, GoalRequest):
            return request
        goal = parse_any_goal(request.goal)
        return validate_goal(contract(), goal, 1.7e9, _tool)

    yield parse


def _tool(joint_position: Sequence[float]) -> Any:
    """Forward kinematics of a robot that is always there."""
    return (0.5, 0.1, 0.4), (0.0, 1.0, 0.0, 0.0)


@contextmanager
def _replies() -> Iterator[Parse]:
    yield parse_reply


@cache
def observation() -> dict[str, Any]:
    """What a client of the websocket sends."""
    joints = contract().robot.joints
    return {
        "joint_position": np.array([joint.home_position for joint in joints]),
        "joint_velocity": np.zeros(len(joints), np.float32),
        "end_effector_position": [0.3, 0.0, 0.5],
        "end_effector_orientation": np.array([0.0, 1.0, 0.0, 0.0]),
        "goal_position": np.array([0.45, 0.1, 0.45]),
        "time_s": 1.0,
        "age_s": np.float32(0.0),
        "reset": np.bool_(True),
    }


def _observation(damage: Damage) -> bytes:
    """Arrays as openpi writes them: maps, which are damaged as such."""
    rng, tree = damage.rng, msgpack.unpackb(pack(observation()))
    if rng.random() < 0.8:
        for value in tree.values():
            if isinstance(value, dict) and rng.random() < 0.2:
                _damage_array(damage, value)
        tree = damage.tree(tree) if rng.random() < 0.6 else tree
    try:
        packed = msgpack.packb(tree, unicode_errors="surrogatepass")
    except (OverflowError, ValueError):  # an integer of more than 64 bits, or deeper than can be written
        packed = pack(observation())
    return damage.content(packed) if rng.random() < 0.5 else packed


def _damage_array(damage: Damage, array: dict[bytes, Any]) -> None:
    rng = damage.rng
    key = rng.choice((b"dtype", b"shape", b"data"))
    if key == b"dtype":
        array[key] = rng.choice(_DTYPES)
    elif key == b"shape":
        array[key] = [rng.choice(_SIZES) for _ in range(rng.randrange(10))]
    else:
        array[key] = damage.value()


@contextmanager
def _observations() -> Iterator[Parse]:
    server, client = socket.socketpair()
    with server, client:
        client.setblocking(False)
        peer = WebsocketPeer(server, lambda: Session(policy()), "")
        client.send(_HANDSHAKE)
        assert peer.serve()
        with np.errstate(over="ignore"):  # as the server does
            yield lambda data: peer._answer(data, 0.0)


def _stream(damage: Damage) -> bytes:
    """A handshake and frames, one or the other of them damaged."""
    rng = damage.rng
    handshake = damage.content(_HANDSHAKE) if rng.random() < 0.3 else _HANDSHAKE
    frames = [_frame(damage, rng.choice((pack(observation()), b"", b"ping", _observation(damage)))) for _ in range(3)]
    data = b"".join(frames)
    return handshake + (damage.content(data) if rng.random() < 0.6 else data)


def _frame(damage: Damage, payload: bytes) -> bytes:
    """A frame as a client masks it; opcodes and flags that mean something, and some that do not."""
    first = damage.rng.choice((0x82, 0x82, 0x82, 0x02, 0x00, 0x80, 0x81, 0x88, 0x89, 0x8A, 0xF2, 0x8F))
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else struct.pack(">BH", 0xFE, size) if size < 2**16 else b"\xff" * 9
    return bytes([first]) + length + b"\0\0\0\0" + payload


@contextmanager
def _streams() -> Iterator[Parse]:
    def parse(data: bytes) -> None:
        server, client = socket.socketpair()
        with server, client:
            client.setblocking(False)
            peer = WebsocketPeer(server, lambda: Session(policy()), "")
            client.send(data[: 2**16])
            client.shutdown(socket.SHUT_WR)
            while peer.serve():
                _drain(client)

    with np.errstate(over="ignore"):  # as the server does
        yield parse


def _drain(client: socket.socket) -> None:
    try:
        client.recv(2**20)
    except BlockingIOError:
        return


def _packet(damage: Damage) -> bytes:
    request = np.zeros(1, request_dtype(contract()))
    for name in ("joint_position", "joint_velocity", "end_effector_position", "end_effector_orientation"):
        request[name] = observation()[name]
    request["goal_position"], request["goal_orientation"] = (0.45, 0.1, 0.45), np.nan
    header = memory_of(request)
    HEADER.pack_into(header, 0, MAGIC, VERSION, 0, bytes.fromhex(contract().digest)[:8], 1)
    content, kept = bytes(header), damage.rng.choice((0, 8, HEADER.size))
    return content[:kept] + damage.content(content[kept:])


@contextmanager
def _packets() -> Iterator[Parse]:
    server, client = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with server, client:
        client.setblocking(False)
        peer = PacketPeer(server, Session(policy()))
        _drain(client)

        def parse(data: bytes) -> None:
            if data:  # one of no bytes is the end of a connection
                client.send(data[:100_000])
                with np.errstate(over="ignore"):  # as the server does
                    assert peer.serve()
                _drain(client)

        yield parse


def _greeting(damage: Damage) -> bytes:
    return damaged_json(damage, [Hello.of(contract()).model_dump(mode="json")])


@contextmanager
def _greetings() -> Iterator[Parse]:
    yield Hello.parse


NETWORK = (
    Parser("gateway request", lambda damage: damaged_json(damage, _REQUESTS), _requests),
    Parser("gateway reply", lambda damage: damaged_json(damage, _REPLIES), _replies),
    Parser("MessagePack observation", _observation, _observations),
    Parser("websocket stream", _stream, _streams),
    Parser("policy server packet", _packet, _packets),
    Parser("policy server greeting", _greeting, _greetings),
)
"""Those that need nothing but the development tools of the runtime."""
