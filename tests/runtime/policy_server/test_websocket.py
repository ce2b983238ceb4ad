"""The policy server's websocket, spoken to by a small client of its own in openpi's message format."""

from __future__ import annotations

import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from runtime.inference.policy import Policy
from runtime.policy_server import server as policy_server
from runtime.policy_server.client import RemotePolicy
from runtime.policy_server.messagepack import pack, unpack
from runtime.policy_server.server import MAX_CLIENTS, PacketListener, PolicyServer
from runtime.policy_server.session import Session
from runtime.policy_server.websocket import MAX_MESSAGE_BYTES, WebsocketListener
from sim2real.contract import Contract
from sim2real.errors import ShoalError

GOAL = (0.45, 0.1, 0.45)
TOKEN = "0123456789abcdef"


@pytest.fixture
def port(policy: Policy) -> Iterator[int]:
    yield from _serve(policy, token="")


@pytest.fixture
def port_with_token(policy: Policy) -> Iterator[int]:
    yield from _serve(policy, token=TOKEN)


def _serve(policy: Policy, token: str) -> Iterator[int]:
    listener = WebsocketListener("127.0.0.1", 0, lambda: Session(policy), token=token)
    server = PolicyServer([listener])
    ended = threading.Event()
    thread = threading.Thread(target=server.run, args=(ended.is_set,))
    thread.start()
    yield listener.port
    ended.set()
    thread.join()
    server.close()
    assert server.failures == []


def encode(value: Any) -> Any:
    """Openpi's form of an array, written here a second time."""
    return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}


def decode(value: dict) -> Any:
    if b"__ndarray__" in value:
        return np.ndarray(buffer=value[b"data"], dtype=np.dtype(value[b"dtype"]), shape=value[b"shape"])
    return value


def ask(client: ClientConnection, observation: dict) -> dict:
    client.send(msgpack.packb(observation, default=encode))
    answer = client.recv(timeout=20)
    if isinstance(answer, str):
        raise RuntimeError(answer)
    return msgpack.unpackb(answer, object_hook=decode)


def dial(port: int, **headers: str) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{port}", compression=None, max_size=None, additional_headers=headers)


def observation(contract: Contract) -> dict[str, np.ndarray]:
    return {
        "joint_position": np.array([joint.home_position for joint in contract.robot.joints]),
        "joint_velocity": np.zeros(7, np.float32),
        "end_effector_position": np.array([0.3, 0.0, 0.5]),
        "end_effector_orientation": np.array([0.0, 1.0, 0.0, 0.0]),
    }


def test_metadata_then_observations_and_actions(port: int, policy: Policy, contract: Contract) -> None:
    session, period = Session(Policy(policy.path)), contract.timing.control_dt_s
    with dial(port) as client:
        facts = msgpack.unpackb(client.recv(timeout=20))
        assert facts["contract_sha256"] == contract.digest
        assert facts["joint_names"] == list(contract.joint_names)
        assert facts["observation"]["joint_velocity"]["unit"] == "rad/s"
        for name, value in observation(contract).items():
            session.request[name][:] = value
        session.request["goal_position"][:] = GOAL
        session.request["goal_orientation"][:] = np.nan
        for tick in range(3):
            now = tick * period
            answer = ask(client, observation(contract) | {"goal_position": np.array(GOAL), "time_s": now})
            session.answer(now, 0.0, reset=False)
            assert answer["actions"].shape == (1, 7)
            np.testing.assert_array_equal(answer["actions"][0], session.reply["command"])
            assert (answer["reason"], answer["commanding"]) == ("following the goal", True)
            assert answer["server_timing"]["infer_ms"] > 0
        # Lists and scalars of NumPy are as good.
        plain = {name: value.tolist() for name, value in observation(contract).items()}
        assert not ask(client, plain | {"time_s": 3 * period, "reset": True})["reached"]


def test_what_cannot_be_answered_is_a_sentence_and_the_connection_lasts(port: int, contract: Contract) -> None:
    whole = observation(contract)
    with dial(port) as client:
        client.recv(timeout=20)
        for wrong, sentence in (
            ({"prompt": "pick up the cup"}, "unknown.*prompt"),
            ({"joint_velocity": np.zeros((2, 7))}, "joint_velocity: shape"),
            ({"joint_velocity": "fast"}, "joint_velocity: 'fast' is not an array"),
            ({"time_s": "now"}, "time_s: 'now' is not a number"),
            ({"goal_position": np.array([3.0, 0.0, 0.4])}, "outside the workspace"),
        ):
            with pytest.raises(RuntimeError, match=sentence):
                ask(client, whole | wrong)
        client.send("hello")
        assert "binary" in str(client.recv(timeout=20))
        client.send(b"\xc1")
        assert "not MessagePack" in str(client.recv(timeout=20))
        client.send([b"\x81", msgpack.packb("joint_position"), msgpack.packb(0)])
        assert "joint_position: shape" in str(client.recv(timeout=20))
        assert ask(client, whole)["commanding"]


def test_an_oversized_message_ends_the_connection_and_no_other(port: int, contract: Contract) -> None:
    with dial(port) as good, dial(port) as bad:
        good.recv(timeout=20)
        bad.recv(timeout=20)
        bad.send(b"\0" * (MAX_MESSAGE_BYTES + 1))
        with pytest.raises(ConnectionClosed) as closed:
            bad.recv(timeout=20)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        assert ask(good, observation(contract))["commanding"]


@pytest.fixture
def both(policy: Policy, tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A server with a Unix socket, too: its path, and the websocket's port."""
    websocket = WebsocketListener("127.0.0.1", 0, lambda: Session(policy))
    server = PolicyServer([PacketListener(tmp_path / "p", lambda: Session(policy)), websocket])
    ended = threading.Event()
    thread = threading.Thread(target=server.run, args=(ended.is_set,))
    thread.start()
    yield tmp_path / "p", websocket.port
    ended.set()
    thread.join()
    server.close()
    assert server.failures == []


def local_robot(path: Path, contract: Contract) -> RemotePolicy:
    remote = RemotePolicy(path, timeout_s=10.0)
    for name, value in observation(contract).items():
        remote.inputs[name][:] = value
    return remote


def test_silent_connections_lock_nobody_out(
    both: tuple[Path, int], contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, port = both
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(3 * MAX_CLIENTS)]
    with local_robot(path, contract) as remote:  # has places of its own
        assert remote.run()
    monkeypatch.setattr(policy_server, "_HANDSHAKE_S", 0.0)
    for connection in silent[:MAX_CLIENTS]:
        connection.settimeout(20)
        assert connection.recv(1) == b""  # nothing was said, so it is over
    with dial(port) as client:
        client.recv(timeout=20)
        assert ask(client, observation(contract))["commanding"]
    for connection in silent:
        connection.close()


def test_robots_keep_their_places_and_the_silent_lose_them(
    port: int, contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_server, "_SILENT_S", 1.0)
    with ExitStack() as stack:
        clients = [stack.enter_context(dial(port)) for _ in range(MAX_CLIENTS)]
        for client in clients:
            client.recv(timeout=20)
        moment = time.monotonic() + 1.1
        while time.monotonic() < moment:  # pings are no requests
            clients[0].ping().wait(20)
        for client in clients[1:]:
            assert ask(client, observation(contract))["commanding"]
        with dial(port) as late:
            late.recv(timeout=20)
            assert ask(late, observation(contract))["commanding"]
        with pytest.raises(ConnectionClosed):
            clients[0].recv(timeout=20)
        for client in clients[1:]:
            assert ask(client, observation(contract))["commanding"]


def test_a_flood_of_messages_does_not_keep_others_waiting(both: tuple[Path, int], contract: Contract) -> None:
    """Strangers get one request in turn, and robots on the Unix socket are answered in every turn."""
    path, port = both
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as flooding,
        dial(port) as other,
        local_robot(path, contract) as remote,
    ):
        other.recv(timeout=20)
        flooding.sendall(HANDSHAKE.encode())
        assert flooding.recv(1024).startswith(b"HTTP/1.1 101")
        flooding.setblocking(False)
        empty = b"\x82\x80\0\0\0\0"  # a binary message of no bytes, masked with zeros
        sent = 0
        with suppress(BlockingIOError):
            while sent < 10_000_000:
                sent += flooding.send(empty * 10_000)
        assert sent > 1000 * len(empty)  # thousands of requests wait now
        for _ in range(5):
            assert ask(other, observation(contract))["commanding"]
            assert remote.run()


HOSTILE = [
    {"x": {b"__npgeneric__": True, b"data": 300, b"dtype": "|i1"}},
    {"x": {b"__ndarray__": True, b"data": b"\0" * 8, b"dtype": "07", b"shape": [1]}},
    {"x": {b"__npgeneric__": True, b"data": 2**64 - 1, b"dtype": "<i8"}},
    {"x": {b"__npgeneric__": True, b"data": -1, b"dtype": "<u4"}},
    {"x": {b"__npgeneric__": True, b"data": [1] * 9, b"dtype": "<f8"}},
    {"x": {b"__npgeneric__": True, b"data": None, b"dtype": "<f8"}},
    {"x": {b"__ndarray__": True, b"data": b"", b"dtype": "<f8", b"shape": [0, 2**62, 2**62]}},
    {"x": {b"__ndarray__": True, b"data": b"\0" * 16, b"dtype": "<f16", b"shape": [1]}},
    {"x": {b"__ndarray__": True, b"data": b"\0" * 8, b"dtype": "(2)f", b"shape": [1]}},
    {"x": {b"__ndarray__": True, b"data": b"\0" * 8, b"dtype": b"<f8", b"shape": [1]}},
    {"joint_position": [[[0.0] * 7] * 7] * 7},
    {"time_s": [1.0]},
    {"time_s": "1.0"},
    {"reset": "yes"},
    {"age_s": float("nan")},
]


@pytest.mark.parametrize("message", HOSTILE, ids=range(len(HOSTILE)))
def test_no_message_ends_another_ones_connection(
    both: tuple[Path, int], contract: Contract, message: dict[str, Any]
) -> None:
    path, port = both
    with dial(port) as hostile, dial(port) as other, local_robot(path, contract) as remote:
        hostile.recv(timeout=20)
        other.recv(timeout=20)
        hostile.send(msgpack.packb(observation(contract) | message, default=encode))
        hostile.recv(timeout=20)
        assert "state" in ask(hostile, observation(contract))
        assert ask(other, observation(contract))["commanding"]
        assert remote.run()


@pytest.mark.parametrize(
    "data",
    [
        b"\x82\xa1a\x01\xa1a\x02",  # a key twice
        b"\x91" * 60_000,
        b"\x81\xa1a" * 20_000,
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xc7\x05\x01hello",
        b"\xd7\xff" + b"\xff" * 8,
        b"\x81\x91\x01\x01",
        b"\xa3\xed\xa0\x80",
    ],
)
def test_bytes_that_are_no_message(data: bytes) -> None:
    with pytest.raises(ShoalError, match=r"^message: "):
        unpack(data)


def test_a_handshake_with_two_tokens_is_refused_and_nobody_else_notices(port_with_token: int) -> None:
    with dial(port_with_token, Authorization=f"Bearer {TOKEN}") as client:
        client.recv(timeout=20)
        with socket.create_connection(("127.0.0.1", port_with_token), timeout=20) as raw:
            header = f"Authorization: Bearer {TOKEN}\r\n"
            raw.sendall(HANDSHAKE.replace("\r\n\r\n", f"\r\n{header * 2}\r\n").encode())
            assert raw.recv(4096).startswith(b"HTTP/1.1 401")
        client.send("hello")
        assert "binary" in str(client.recv(timeout=20))


HANDSHAKE = (
    "GET / HTTP/1.1\r\nHost: robot\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def test_a_token_is_needed_where_there_is_one(port_with_token: int) -> None:
    for headers in ({}, {"Authorization": "Api-Key wrong"}, {"Authorization": TOKEN}):
        with pytest.raises(InvalidStatus, match="401"):
            dial(port_with_token, **headers)
    for scheme in ("Api-Key", "Bearer"):
        with dial(port_with_token, Authorization=f"{scheme} {TOKEN}") as client:
            assert client.recv(timeout=20)


def test_pages_in_a_browser_and_open_interfaces_are_refused(port: int, policy: Policy) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        connect(f"ws://127.0.0.1:{port}", origin="http://example.org")
    with pytest.raises(ShoalError, match="give --token-file"):
        WebsocketListener("0.0.0.0", 0, lambda: Session(policy))


def test_health_check_and_rubbish_instead_of_a_handshake(port: int) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=20) as answer:
        assert (answer.status, answer.read()) == (200, b"OK\n")
    with socket.create_connection(("127.0.0.1", port), timeout=20) as raw:
        raw.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
        assert not raw.recv(4096).startswith(b"HTTP/1.1 101")
    with dial(port) as client:
        assert client.recv(timeout=20)


numbers = st.sampled_from(["<f4", "<f8", ">f8", "|u1", "<i8", "|b1"]).flatmap(
    lambda dtype: st.lists(st.integers(0, 1), max_size=6).map(lambda values: np.array(values, dtype))
)


@given(st.dictionaries(st.text(max_size=5), numbers | st.floats(allow_nan=False) | st.booleans(), max_size=4))
@settings(max_examples=50, deadline=None)
def test_messages_survive_packing(message: dict[str, Any]) -> None:
    again = unpack(pack(message))
    assert list(again) == list(message)
    for name, value in message.items():
        if isinstance(value, np.ndarray):
            assert again[name].dtype == value.dtype
        np.testing.assert_array_equal(again[name], value)


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_unpacking_any_bytes_gives_data_or_one_sentence(data: bytes) -> None:
    with suppress(ShoalError):
        unpack(data)


@pytest.mark.parametrize("dtype", ["|O", "|V8", "<c16", "<M8", "<U4", "nonsense", 7])
def test_arrays_of_anything_but_numbers_are_refused(dtype: Any) -> None:
    array = {b"__ndarray__": True, b"data": b"\0" * 16, b"dtype": dtype, b"shape": [2]}
    with pytest.raises(ShoalError, match="only numbers and booleans"):
        unpack(msgpack.packb({"x": array}))


@pytest.mark.parametrize("shape", [[3], [-2], [2, 2], None, [2.0], ["a"], [1 << 62, 4], [1] * 9])
def test_shapes_that_do_not_fit_their_bytes_are_refused(shape: Any) -> None:
    array = {b"__ndarray__": True, b"data": b"\0" * 16, b"dtype": "<f8", b"shape": shape}
    with pytest.raises(ShoalError, match=r"message: an array"):
        unpack(msgpack.packb({"x": array}))
