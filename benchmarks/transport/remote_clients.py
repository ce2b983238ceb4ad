"""How each row of `benchmarks.transport.remote_policy` asks its server: the client that the other stack has, or ours.

with CLIENTS["zmq tcp"](policy, folder) as connection:      # its server runs meanwhile, in a process of its own
connection.ask(now_s)
"""

from __future__ import annotations

import pickle
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.transport.remote_peers import CHUNK_BYTES, SERVICE, served_session
from runtime.inference.policy import Policy
from runtime.policy_server.client import RemotePolicy
from runtime.policy_server.messagepack import pack, unpack
from runtime.policy_server.packets import input_names, memory_of, reply_dtype, request_dtype
from runtime.robot.model import find_model
from runtime.safety import SafetyConfig
from runtime.safety.geometry import geometry_checker_for
from runtime.status import Reason
from sim2real.child_process import free_port, python_module
from sim2real.contract import Contract
from sim2real.errors import ShoalError

_LIKE_PEERS = ("--no-realtime", "--engine", "onnxruntime")


def sleep_until(moment_s: float) -> None:
    """Sleep as most loops wait."""
    time.sleep(max(0.0, moment_s - time.monotonic()))


class Connection(NamedTuple):
    """Connection of one row."""

    ask: Callable[[float], np.ndarray]
    """From the client's clock, in s, to the command `[J]` in rad."""
    joint_position: np.ndarray
    """What is sent next, `[J]` rad, writable."""
    sleep_until: Callable[[float], None] = sleep_until
    """Until `time.monotonic()` says so."""


def example_observation(contract: Contract) -> dict[str, np.ndarray]:
    """The robot at home, its tool where its joints put it, and a goal in the middle of the workspace."""
    home = np.array([joint.home_position for joint in contract.robot.joints])
    checker = geometry_checker_for(find_model(contract), contract, SafetyConfig())
    if checker is None or checker.no_tool_pose:
        raise ShoalError(
            f"{contract.robot.name}: readings that fit together take the MJCF of the policy, which is not at hand."
        )
    pose = checker.tool_pose(home)
    return {
        "joint_position": home,
        "joint_velocity": np.zeros_like(home),
        "end_effector_position": np.array(pose[:3]),
        "end_effector_orientation": np.array(pose[3:]),
        "goal_position": np.add(contract.goal.position_min_m, contract.goal.position_max_m) / 2,
        "goal_orientation": np.array(contract.default_orientation_wxyz),
        "joint_position_target": home,
    }


@contextmanager
def in_process(policy: Path, folder: Path) -> Iterator[Connection]:
    """The floor: a policy in this process."""
    session = served_session(str(policy))
    observation = example_observation(session.contract)
    for name in input_names(session.request_record.dtype):
        session.request[name][:] = observation.get(name, np.nan)

    def ask(now_s: float) -> np.ndarray:
        session.answer(now_s, 0.0, reset=False)
        return session.reply["command"]

    yield Connection(ask, session.request["joint_position"])
    _require_following(Reason(int(session.reply["reason"][0])).sentence)


@contextmanager
def unix(policy: Path, folder: Path) -> Iterator[Connection]:
    """Ours, and its safety layer; the peers judge nothing."""
    yield from _ask_unix(policy, folder / "policy.sock", *_LIKE_PEERS)


@contextmanager
def unix_served(policy: Path, folder: Path) -> Iterator[Connection]:
    """Ours as users have it."""
    yield from _ask_unix(policy, folder / "served.sock")


@contextmanager
def unix_warmed_up(policy: Path, folder: Path) -> Iterator[Connection]:
    """Ours with our client's way to wait."""
    yield from _ask_unix(policy, folder / "warmed_up.sock", warmed_up=True)


def _ask_unix(policy: Path, path: Path, *arguments: str, warmed_up: bool = False) -> Iterator[Connection]:
    with _own_server(policy, "--socket", str(path), *arguments), RemotePolicy(path) as remote:
        for name, value in _readings(policy).items():
            remote.inputs[name][:] = value

        def ask(now_s: float) -> np.ndarray:
            remote.run(now_s)
            return remote.command

        yield Connection(ask, remote.inputs["joint_position"], remote.sleep_until if warmed_up else sleep_until)
        _require_following(remote.answer()["reason"])


@contextmanager
def own_websocket(policy: Path, folder: Path) -> Iterator[Connection]:
    """Ours, with the client that openpi has."""
    port = free_port()
    address = f"127.0.0.1:{port}"
    with _own_server(policy, "--socket", str(folder / "w"), "--websocket", address, *_LIKE_PEERS):
        yield from _ask_websocket(port, _readings(policy), with_time=True)


@contextmanager
def openpi(policy: Path, folder: Path) -> Iterator[Connection]:
    """Theirs, with the same client."""
    port = free_port()
    with _peer("openpi", policy, f"127.0.0.1:{port}"):
        yield from _ask_websocket(port, example_observation(Policy(policy).contract), with_time=False)


def _ask_websocket(port: int, observation: dict[str, np.ndarray], *, with_time: bool) -> Iterator[Connection]:
    from websockets.sync.client import connect

    with connect(f"ws://127.0.0.1:{port}", compression=None, max_size=None) as connection:
        connection.recv()

        def ask(now_s: float) -> np.ndarray:
            connection.send(pack(observation | {"time_s": now_s} if with_time else observation))
            answer = connection.recv()
            if isinstance(answer, str):
                raise ShoalError(answer)
            return np.asarray(unpack(answer)["actions"][0])

        yield Connection(ask, observation["joint_position"])


@contextmanager
def lerobot(policy: Path, folder: Path) -> Iterator[Connection]:
    """The observation goes out in one call and the actions come back in another."""
    import grpc  # type: ignore[import-untyped]

    address = f"127.0.0.1:{free_port()}"
    observation = example_observation(Policy(policy).contract)
    with _peer("lerobot", policy, address), closing(grpc.insecure_channel(address)) as channel:
        send = channel.stream_unary(f"/{SERVICE}/SendObservations")
        fetch = channel.unary_unary(f"/{SERVICE}/GetActions")

        def ask(now_s: float) -> np.ndarray:
            data = pickle.dumps(observation)
            send(data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES))
            return np.asarray(pickle.loads(fetch(b""))["actions"][0])

        yield Connection(ask, observation["joint_position"])


@contextmanager
def grpc_once(policy: Path, folder: Path) -> Iterator[Connection]:
    """Serve one call."""
    import grpc

    address = f"127.0.0.1:{free_port()}"
    observation = example_observation(Policy(policy).contract)
    with _peer("grpc", policy, address), closing(grpc.insecure_channel(address)) as channel:
        infer = channel.unary_unary(f"/{SERVICE}/Infer")

        def ask(now_s: float) -> np.ndarray:
            return np.asarray(pickle.loads(infer(pickle.dumps(observation)))["actions"][0])

        yield Connection(ask, observation["joint_position"])


@contextmanager
def zmq_ipc(policy: Path, folder: Path) -> Iterator[Connection]:
    """ZeroMQ over a Unix socket."""
    yield from _ask_zmq(policy, f"ipc://{folder}/zmq")


@contextmanager
def zmq_tcp(policy: Path, folder: Path) -> Iterator[Connection]:
    """ZeroMQ over TCP."""
    yield from _ask_zmq(policy, f"tcp://127.0.0.1:{free_port()}")


def _ask_zmq(policy: Path, address: str) -> Iterator[Connection]:
    import zmq

    with _peer("zmq", policy, address), zmq.Context() as context, context.socket(zmq.REQ) as connection:
        connection.connect(address)

        def exchange(packet: memoryview) -> bytes:
            connection.send(packet)
            return connection.recv()

        yield _ask_packets(policy, exchange)


@contextmanager
def zenoh_query(policy: Path, folder: Path) -> Iterator[Connection]:
    """A query to a queryable."""
    import zenoh

    address = f"127.0.0.1:{free_port()}"
    config = zenoh.Config.from_json5(
        f'{{mode: "client", connect: {{endpoints: ["tcp/{address}"]}}, scouting: {{multicast: {{enabled: false}}}}}}'
    )
    with _peer("zenoh", policy, address), zenoh.open(config) as session:

        def exchange(packet: memoryview) -> bytes:
            for reply in session.get("policy", payload=bytes(packet), express=True, timeout=5.0):
                if reply.ok is not None:
                    return reply.ok.payload.to_bytes()
            raise ShoalError("zenoh: no reply.")

        yield _ask_packets(policy, exchange)


def _ask_packets(policy: Path, exchange: Callable[[memoryview], bytes]) -> Connection:
    observation = _readings(policy)
    contract = Policy(policy).contract
    request = np.zeros(1, request_dtype(contract))
    for name in input_names(request.dtype):
        request[name] = observation.get(name, np.nan)
    packet, times, reply = memory_of(request), request["time_s"], reply_dtype(len(contract.joint_names))

    def ask(now_s: float) -> np.ndarray:
        times[0] = now_s
        return np.asarray(np.frombuffer(exchange(packet), reply)["command"][0])

    return Connection(ask, request["joint_position"][0])


def _require_following(reason: str) -> None:
    if reason != Reason.FOLLOWING.sentence:
        raise ShoalError(f"the policy was not run at the end: {reason}; what was measured is not its time.")


def _readings(policy: Path) -> dict[str, np.ndarray]:
    contract = Policy(policy).contract
    read = input_names(request_dtype(contract))
    return {name: value for name, value in example_observation(contract).items() if name in read}


def _own_server(policy: Path, *arguments: str) -> Any:
    command = python_module("runtime.cli", "policy-server", "--model", str(policy))
    return _process([*command, *arguments], "listening")


def _peer(name: str, policy: Path, address: str) -> Any:
    return _process(python_module("benchmarks.transport.remote_peers", name, str(policy), address), "ready")


@contextmanager
def _process(arguments: list[str], ready: str) -> Iterator[None]:
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        while not (line := process.stdout.readline()).startswith(ready):
            if not line:
                raise ShoalError("a server did not start; its own message is above.")
        yield
    finally:
        process.kill()
        process.communicate()


CLIENTS = {
    "in process": in_process,
    "unix": unix,
    "unix served": unix_served,
    "unix warmed up": unix_warmed_up,
    "websocket": own_websocket,
    "openpi": openpi,
    "lerobot": lerobot,
    "grpc": grpc_once,
    "zmq ipc": zmq_ipc,
    "zmq tcp": zmq_tcp,
    "zenoh": zenoh_query,
}
