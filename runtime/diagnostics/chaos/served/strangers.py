"""What strangers send to a policy server while a robot asks it."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

from runtime.diagnostics.chaos.rig import FOLLOWS
from runtime.diagnostics.chaos.scenario import Scenario, Subject
from runtime.diagnostics.chaos.served.server import Served, goal_within
from runtime.drivers.base import DriverOptions
from runtime.drivers.mujoco import MujocoDriver
from runtime.policy_server.client import RemotePolicy
from runtime.robot.readings import Readings
from runtime.status import State
from sim2real.child_process import python_module
from sim2real.errors import ShoalError

_PATIENCE_S = 30.0
_SILENT = 48
_REQUESTS = 40
_STATES = {state.label: state for state in State}
_HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: robot\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
_HOSTILE = (
    b"\x81\xa1x\x83\xc4\x0d__npgeneric__\xc3\xc4\x04data\xcd\x01\x2c\xc4\x05dtype\xa3|i1",
    b"\x81\xa1x\x84\xc4\x0b__ndarray__\xc3\xc4\x04data\xc4\x01\0\xc4\x05dtype\xa207\xc4\x05shape\x91\x01",
    b"\x91" * 60,
    b"\xdd\xff\xff\xff\xff",
)


def stranger_scenarios() -> Iterator[Scenario]:
    """Scenarios with a policy server in a process of its own."""
    yield Scenario(
        "policy server's strangers",
        "silent connections, floods and hostile messages on the websocket of `runtime policy-server`",
        "the robot on the Unix socket gets every command",
        FOLLOWS,
        run_served=_strangers,
    )


def _strangers(robot: Subject, folder: Path) -> Served:
    path, arguments = (
        folder / "policy.sock",
        ["--model", str(robot.model), "--no-realtime", "--websocket", "127.0.0.1:0"],
    )
    process = subprocess.Popen(
        python_module("runtime.cli", "policy-server", *arguments, "--socket", str(path)),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        port = _port(process)
        with ExitStack() as stack:
            connections = [stack.enter_context(_stranger(port)) for _ in range(_SILENT)]
            # The first of them, since the last find no place.
            for connection, message in zip(connections, _HOSTILE, strict=False):
                _send(connection, _frame(message))
            _send(connections[len(_HOSTILE)], _frame(b"") * 100_000)
            return _drive(robot, path)
    finally:
        process.kill()
        process.communicate()


def _port(process: subprocess.Popen[str]) -> int:
    """The websocket's port, once the server listens."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("listening"):
            return int(line.partition("ws://")[2].partition(",")[0].rpartition(":")[2])
    raise ShoalError("the policy server ended before it listened.")


def _stranger(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), _PATIENCE_S)


def _frame(payload: bytes) -> bytes:
    """A binary message as a client sends it, masked with zeros."""
    return bytes([0x82, 0x80 | len(payload)]) + b"\0\0\0\0" + payload


def _send(connection: socket.socket, frames: bytes) -> None:
    """Send without waiting: what finds no room, or nobody who listens any more, is left out."""
    connection.setblocking(False)
    with suppress(OSError):
        connection.sendall(_HANDSHAKE + frames)


def _drive(robot: Subject, path: Path) -> Served:
    """A simulated robot, asking once per control period of its own clock."""
    contract, goal = robot.contract, goal_within(robot, 0.8)
    driver, readings = MujocoDriver(contract, DriverOptions(speed=0.0, mjcf=robot.mjcf)), Readings.of(contract)
    problems: list[str] = []
    with RemotePolicy(path, contract=contract, timeout_s=_PATIENCE_S) as remote:
        for name, value in goal.values.items():
            remote.inputs[name][:] = value
        told = [name for name in remote.inputs if name in readings.named]
        for _ in range(_REQUESTS):
            driver.read(readings)
            for name in told:
                remote.inputs[name][:] = readings[name]
            if not remote.run(driver.now_s()):
                problems.append("a request was answered without a command")
            driver.write(remote.command)
        answer = remote.answer()
    driver.close()
    return _STATES[answer["state"]], problems
