"""A simulated robot in another process, over a socket: `runtime simulate` there, `--robot wire --host ADDRESS` here.

The simulation says who it is in one line of JSON, then sends its state after every physics step; the driver sends
targets. Messages have a fixed layout, little-endian; J is the number of joints:

    state     magic padding time_s readings[R] joint_effort[J]
    command   magic padding target[J] goal_position[3] goal_orientation[4]        (the goal is a marker, NaN for none)

where the readings are those of the contract, in its order: `contract.measured`.

It behaves as a robot over a network does. Nothing here waits while the simulation runs: `read` takes the newest state
that has arrived, which grows old when the connection is lost, so that the loop holds. A new connection is tried twice a
second, and the loop then begins anew from the measured joints.
"""

from __future__ import annotations

import math
import socket
import sys
import time
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, ValidationError

from runtime.drivers.base import DriverOptions
from runtime.goals.markers import markers
from runtime.goals.messages import ResolvedGoal
from runtime.protocol.address import Address
from runtime.robot.readings import Float64, Readings
from sim2real.contract import Contract
from sim2real.errors import ContractMismatch, ShoalError, shown
from sim2real.frozen import Plain

VERSION = 1
STATE_MAGIC, COMMAND_MAGIC = 0x54534853, 0x4D434853
"""`SHST` and `SHCM` in memory."""
_MAX_HELLO_BYTES = 16 * 1024
_READ_BYTES = 64 * 1024
_CONNECT_S = 2.0
_RECONNECT_EVERY_S = 0.5
_RECONNECT_S = 0.2
"""Longest wait for a new connection, while the loop holds anyway."""
_SILENT_S = 1.0
"""A connection that says nothing for this long is given up."""


class SimulationHello(Plain):
    """What a simulation says first."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    protocol: Literal["shoal-simulation"] = "shoal-simulation"
    version: int = VERSION
    joint_names: tuple[str, ...]
    """The order of every joint array on the wire."""
    mjcf_sha256: str
    """Digest of the compiled model."""
    end_effector_frame: str | None
    readings: dict[str, int] | None = None
    """Names and sizes, in order; None from an older one."""
    speed: float
    """Simulated seconds per second."""
    description: str

    def require(self, contract: Contract) -> None:
        """Raise `ContractMismatch` unless this is the contract's robot."""
        robot = contract.robot
        wanted: dict[str, tuple[object, object]] = {
            "robot.joints": (sorted(contract.joint_names), sorted(self.joint_names)),
            "robot.mjcf_sha256": (robot.mjcf_sha256, self.mjcf_sha256),
            "robot.end_effector_frame": (robot.end_effector_frame, self.end_effector_frame),
        }
        if self.readings is not None:
            wanted["readings"] = (list(contract.measured.sizes.items()), list(self.readings.items()))
        for field, (mine, theirs) in wanted.items():
            if mine != theirs:
                raise ContractMismatch(
                    f"{field}: {mine!r} in the policy, {theirs!r} in the simulation; simulate the robot that the "
                    "policy was trained for (runtime simulate --model with the same file)."
                )


def state_dtype(contract: Contract) -> np.dtype[np.void]:
    """Simulation to driver; joints in the simulation's order."""
    return np.dtype(
        [
            ("magic", "<u4"),
            ("padding", "<u4"),
            ("time_s", "<f8"),
            ("readings", "<f8", (contract.measured.size,)),
            ("joint_effort", "<f8", (len(contract.joint_names),)),
        ]
    )


def command_dtype(joints: int) -> np.dtype[np.void]:
    """Driver to simulation."""
    return np.dtype(
        [
            ("magic", "<u4"),
            ("padding", "<u4"),
            ("target", "<f8", joints),
            ("goal_position", "<f8", 3),
            ("goal_orientation", "<f8", 4),
        ]
    )


class Records:
    """Records of one type out of a byte stream: only the newest whole one matters."""

    def __init__(self, dtype: np.dtype[np.void], magic: int) -> None:
        self.newest: NDArray[np.void] = np.zeros(1, dtype)
        self._magic, self._size = magic, dtype.itemsize
        self._rest = b""

    def take(self, data: bytes) -> int:
        """Add what arrived; how many whole records it held. Raises `ValueError` when the stream makes no sense."""
        data = self._rest + data
        count = len(data) // self._size
        end = count * self._size
        self._rest = data[end:]
        if count:
            self.newest = np.frombuffer(data, self.newest.dtype, 1, end - self._size)
            if self.newest["magic"][0] != self._magic:
                raise ValueError("a record of another kind")
        return count


class WireDriver:
    """A `runtime.drivers.base.RecoveringDriver`. Raises `ShoalError` when no simulation answers at `options.host`, and
    `ContractMismatch` when it simulates another robot.
    """

    def __init__(self, contract: Contract, options: DriverOptions) -> None:
        if not options.host:
            raise ShoalError("--host: give the simulation's address, for example --host 127.0.0.1:7400.")
        self._contract, self._address = contract, simulation_address(options.host)
        self._state_dtype = state_dtype(contract)
        self._command = np.zeros(1, command_dtype(len(contract.joint_names)))
        self._command["magic"] = COMMAND_MAGIC
        self._command["goal_position"] = self._command["goal_orientation"] = math.nan
        self._connection: socket.socket | None = None
        self._tried_s, self._said = time.monotonic(), ""
        self.restarts = 0
        try:
            self._hello = self._connect(_CONNECT_S)
        except OSError as error:
            raise ShoalError(
                f"--host: no simulation answers at {self._address} ({error.strerror or error}); "
                "is `runtime simulate` running?"
            ) from error
        self.joint_names = self._hello.joint_names
        self.owns_clock = False
        self.period_s = contract.timing.control_dt_s / self._hello.speed
        self.description = f"{self._hello.description} at {self._address}"

    def read(self, out: Readings) -> None:
        """The newest state that has arrived; it ages while the connection is lost."""
        if self._connection is None or time.monotonic() - self._arrived_s > _SILENT_S:
            self._reconnect()
        self._receive()
        state = self._states.newest[0]
        np.copyto(out.joint_effort, state["joint_effort"])
        np.copyto(out.vector, state["readings"])
        out.time_s = self._arrived_s * self._hello.speed

    def write(self, command: Float64) -> None:
        """Targets `[J]` rad for the coming control period."""
        self._command["target"][0] = command
        if self._connection is None:
            return
        try:
            self._connection.send(self._command.tobytes())
        except OSError as error:  # also a simulation that reads nothing any more
            self._lose(error.strerror or str(error))

    def now_s(self) -> float:
        """Monotonic time, in simulated seconds."""
        return time.monotonic() * self._hello.speed

    def show_goal(self, goal: ResolvedGoal) -> None:
        """Sent along with the next command."""
        places = markers(self._contract, goal.request)
        if places:
            self._command["goal_position"] = places[0].position
            turn = places[0].orientation_wxyz or self._contract.default_orientation_wxyz
            self._command["goal_orientation"] = turn

    def close(self) -> None:
        """End the connection; the simulated servos hold the last target."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _receive(self) -> None:
        """All that has arrived."""
        try:
            while self._connection is not None:
                data = self._connection.recv(_READ_BYTES)
                if not data:
                    raise ConnectionResetError(0, "the simulation ended the connection")
                if self._states.take(data):
                    self._arrived_s = time.monotonic()
        except BlockingIOError:
            return
        except (OSError, ValueError) as error:
            self._lose(str(error))

    def _reconnect(self) -> None:
        """Try, twice a second, to find the simulation again; never raises."""
        if time.monotonic() - self._tried_s < _RECONNECT_EVERY_S:
            return
        self.close()
        self._tried_s = time.monotonic()
        try:
            hello = self._connect(_RECONNECT_S)
            if (hello.joint_names, hello.speed) != (self.joint_names, self._hello.speed):
                self.close()
                raise ShoalError("the simulation came back with another order of joints or another speed.")
        except (OSError, ShoalError) as error:
            self._say(f"not yet connected again: {error}")
            return
        self.restarts += 1
        self._say("connected again, going on from where the robot stands")

    def _connect(self, timeout_s: float) -> SimulationHello:
        """A connection that has delivered its first state."""
        deadline = time.monotonic() + timeout_s
        connection = self._address.connect(timeout_s)
        try:
            line = b""
            while b"\n" not in line:
                line += _receive_before(connection, deadline)
                if len(line) > _MAX_HELLO_BYTES:
                    raise ShoalError("--host: what answers there is no simulation of Shoal.")
            line, _, rest = line.partition(b"\n")
            hello = _parse_hello(line)
            hello.require(self._contract)
            states = Records(self._state_dtype, STATE_MAGIC)
            while not states.take(rest):
                rest = _receive_before(connection, deadline)
        except ValueError as error:
            connection.close()
            raise ShoalError(f"--host: the simulation sent {error}.") from error
        except (OSError, ShoalError):
            connection.close()
            raise
        connection.setblocking(False)
        self._connection, self._states, self._arrived_s = connection, states, time.monotonic()
        return hello

    def _lose(self, reason: str) -> None:
        self.close()
        self._say(f"connection lost: {reason}")

    def _say(self, sentence: str) -> None:
        """Say it on standard error, once."""
        if sentence != self._said:
            self._said = sentence
            print(f"wire: {sentence}", file=sys.stderr, flush=True)


def simulation_address(text: str) -> Address:
    """`HOST:PORT` of the loopback interface, or a path; raises `ShoalError`."""
    plain = "/" not in text and ":" in text
    return Address(f"tcp://{text}" if plain else text)


def _receive_before(connection: socket.socket, deadline: float) -> bytes:
    connection.settimeout(max(0.01, deadline - time.monotonic()))
    data = connection.recv(65536)
    if not data:
        raise ConnectionResetError(0, "it ended the connection, as when it is being driven by someone else")
    return data


def _parse_hello(line: bytes) -> SimulationHello:
    try:
        hello = SimulationHello.model_validate_json(line)
    except ValidationError as error:
        raise ShoalError("--host: what answers there is no simulation of Shoal.") from error
    if hello.version != VERSION:
        raise ShoalError(
            f"--host: the simulation speaks version {shown(hello.version)} of the protocol, this side {VERSION}."
        )
    return hello
