"""The client of a policy server on the same machine, for a control loop of your own.

    with RemotePolicy() as policy:
        while True:
            answer = policy.infer({"joint_position": q, "joint_velocity": dq, "end_effector_position": p,
                                   "end_effector_orientation": r, "goal_position": goal})
            robot.command(answer["command"])
            deadline += policy.hello.control_dt_s                # of time.monotonic()
            policy.sleep_until(deadline)

or, without a dictionary per tick,

    policy.inputs["joint_position"][:] = q                       # and the others
    if policy.run():
        robot.command(policy.command)
"""

from __future__ import annotations

import math
import socket
import struct
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from runtime.policy_server.greeting import Hello
from runtime.policy_server.packets import (
    EXPLAIN,
    HEADER,
    MAGIC,
    MAX_ERROR_BYTES,
    RESET,
    VERSION,
    WARM_UP,
    Kind,
    input_names,
    memory_of,
    reply_dtype,
)
from runtime.protocol.address import default_address
from sim2real.contract import Contract
from sim2real.errors import ShoalError, shown

_MAX_HELLO_BYTES = 64 * 1024
_AT_FAULT = ("hold", "damp")
"""States for which it is worth another round trip to know more."""
_WARM_UPS = 2
"""The first finds the server asleep; the second is like the request that counts."""
_SPARE_S = 0.2e-3
"""How long before the moment the last of them should end."""
_FIRST_LEAD_S, _LONGEST_LEAD_S = 1e-3, 4e-3
EXTRA = ("time_s", "age_s", "reset")


def default_socket() -> Path:
    """Where `runtime policy-server` listens when not told otherwise: a private path of this user."""
    path = default_address().path
    assert path is not None
    return path.with_name("policy.sock")


class RemotePolicy:
    """A connection to one policy server; not for use by several threads at once.

    `contract`, if given, must be the served policy's. `timeout_s` bounds every answer. Every method raises
    `ShoalError` when the server cannot be reached, does not answer in time, or refuses the request; the connection
    is then as good as new, except that the server forgets the target when the connection is lost.
    """

    def __init__(
        self, path: str | Path | None = None, *, contract: Contract | None = None, timeout_s: float = 1.0
    ) -> None:
        self._path = Path(path) if path is not None else default_socket()
        self._timeout_s = timeout_s
        self._connection, self.hello = self._connect()
        if contract is not None:
            try:
                self.hello.require(contract)
            except ShoalError:
                self._connection.close()
                raise
        joints = len(self.hello.joint_names)
        self._contract = bytes.fromhex(self.hello.contract_sha256)[:8]
        request, self._reply = np.zeros(1, self.hello.request_dtype()), np.zeros(1, reply_dtype(joints))
        self._request_bytes, self._reply_bytes = memory_of(request), memory_of(self._reply)
        self._received = bytearray(max(len(self._reply_bytes), HEADER.size + MAX_ERROR_BYTES) + 1)
        self._times = (request["time_s"], request["age_s"])
        self.inputs: dict[str, NDArray[np.float64]] = {name: request[name][0] for name in input_names(request.dtype)}
        """Everything that a request holds, writable; joint arrays in the order of `hello.joint_names`.

        What may be left out is NaN at first: no effort measured, no goal, the contract's default orientation. So is
        an object's position, without which nothing is commanded."""
        for name in self.hello.unknown_at_first:
            if name in self.inputs:
                self.inputs[name].fill(math.nan)
        self.command: NDArray[np.float64] = self._reply["command"][0]
        """`[J]` rad, after `run`."""
        self._sequence = 0
        self._lead_s = _FIRST_LEAD_S

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; the server forgets the target."""
        self._connection.close()

    def run(self, time_s: float | None = None, *, age_s: float = 0.0, reset: bool = False) -> bool:
        """One control period: `inputs` to `command`. False when `command` must not be sent.

        `time_s` is your clock, of a simulation say; wall time if not given. `age_s` is how old the readings are.
        `reset` begins anew from the measured joints, after the robot was moved by hand or put elsewhere.
        """
        self._times[0][0] = time.monotonic() if time_s is None else time_s
        self._times[1][0] = age_s
        self._reply_bytes[:] = self._ask(RESET if reset else 0)
        return bool(self._reply["commanding"][0])

    def sleep_until(self, moment_s: float) -> None:
        """Sleep until `time.monotonic()` has come so far, such that the request which follows is answered soon.

        Shortly before, `inputs` are answered twice for nothing, so that both processes are awake then and have warm
        caches; that changes no command. From there to the moment this thread stays awake.
        """
        now_s, lead_s = time.monotonic(), self._lead_s
        if not self.hello.rehearses or moment_s - now_s < 2 * lead_s:
            time.sleep(max(moment_s - now_s, 0.0))
            return
        time.sleep(moment_s - lead_s - now_s)
        for _ in range(_WARM_UPS):
            self._ask(WARM_UP)
        late = time.monotonic() > moment_s - _SPARE_S
        self._lead_s = min(1.25 * lead_s, _LONGEST_LEAD_S) if late else lead_s - lead_s / 128
        while time.monotonic() < moment_s:
            pass

    def infer(self, observation: Mapping[str, ArrayLike]) -> dict[str, Any]:
        """Run the policy on dictionaries: names of `inputs`, and optionally `time_s`, `age_s` and `reset`.

        Efforts and goals may be left out. The answer has the fields of a reply, `state` and `reason` in words,
        and owns its `command`.
        """
        fill_inputs(self.inputs, observation, self.hello.optional)
        times = {name: number(observation, name, math.nan) for name in EXTRA}
        time_s, age_s, reset = (None if math.isnan(value) else value for value in times.values())
        self.run(time_s, age_s=age_s or 0.0, reset=bool(reset))
        answer = self.answer()
        return answer | {"reason": self.explain()} if answer["state"] in _AT_FAULT else answer

    def explain(self) -> str:
        """Why the robot is in its present state: where a reading is at fault, with its value and what it should be."""
        if not self.hello.explains:
            return str(self.answer()["reason"])
        return bytes(self._ask(EXPLAIN)[HEADER.size :]).decode(errors="replace")

    def answer(self) -> dict[str, Any]:
        """The latest reply as `infer` gives it, after a `run` that returned False say."""
        return answer_of(self._reply, self.hello)

    def _ask(self, flags: int) -> memoryview:
        """`inputs` to the bytes of a reply."""
        self._sequence += 1
        HEADER.pack_into(self._request_bytes, 0, MAGIC, VERSION, flags, self._contract, self._sequence)
        try:
            self._connection.send(self._request_bytes)
            return self._receive()
        except BlockingIOError as error:
            raise ShoalError(f"policy server: no answer within {self._timeout_s:g} s.") from error
        except OSError as error:
            raise ShoalError(f"policy server: the connection is lost ({error.strerror}); connect again.") from error

    def _receive(self) -> memoryview:
        while True:
            size = self._connection.recv_into(self._received)
            if not size:
                raise ConnectionResetError(0, "the server closed it")
            if size < HEADER.size:
                raise ShoalError(f"policy server: a reply of {size} bytes, less than its header has.")
            magic, version, kind, _, sequence = HEADER.unpack_from(self._received)
            if magic != MAGIC or version != VERSION:
                raise ShoalError(f"policy server: a reply begins with {magic:#x}, {version}.")
            # An answer that came after its timeout is not the answer to this request.
            if sequence == self._sequence or (kind == Kind.ERROR and not sequence):
                break
        if kind == Kind.ERROR:
            raise ShoalError(bytes(self._received[HEADER.size : size]).decode(errors="replace"))
        if kind == Kind.EXPLANATION:
            return memoryview(self._received)[:size]
        if kind != Kind.COMMAND or size != len(self._reply_bytes):
            raise ShoalError(
                f"policy server: a reply of kind {kind} and {size} bytes instead of {len(self._reply_bytes)}."
            )
        return memoryview(self._received)[:size]

    def _connect(self) -> tuple[socket.socket, Hello]:
        if not hasattr(socket, "SOCK_SEQPACKET"):
            raise ShoalError("policy server: this system has no SOCK_SEQPACKET for Unix sockets; use the websocket.")
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # The kernel's own timeout: Python's would cost one more system call per receive.
        seconds, microseconds = divmod(round(self._timeout_s * 1e6), 1_000_000)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            connection.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", seconds, microseconds))
        try:
            connection.connect(str(self._path))
            packet = connection.recv(_MAX_HELLO_BYTES)
            if not packet:
                raise ShoalError(f"policy server: {self._path} takes no more clients.")
            return connection, Hello.parse(packet)
        except OSError as error:
            connection.close()
            raise ShoalError(
                f"policy server: nothing answers on {self._path} ({error.strerror or error}); "
                "is `runtime policy-server` running?"
            ) from error
        except ShoalError:
            connection.close()
            raise


def fill_inputs(inputs: Mapping[str, NDArray[np.float64]], given: Mapping[str, Any], optional: Collection[str]) -> None:
    """Copy an observation into the fields of a request; raises `ShoalError` naming the first that does not fit."""
    for name, array in inputs.items():
        value = given.get(name)
        if value is None:
            if name not in optional:
                raise ShoalError(f"observation: {name!r} is missing, {list(array.shape)} numbers.")
            array.fill(math.nan)
            continue
        try:
            numbers = np.asarray(value, np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise ShoalError(f"observation.{name}: {shown(value)} is not an array of numbers.") from error
        if numbers.shape != array.shape:
            raise ShoalError(f"observation.{name}: shape {list(numbers.shape)}, expected {list(array.shape)}.")
        np.copyto(array, numbers)
    unknown = [shown(name) for name in given if name not in inputs and name not in EXTRA]
    if unknown:
        raise ShoalError(f"observation: unknown {', '.join(unknown[:5])}; this policy reads {[*inputs, *EXTRA]}.")


def number(observation: Mapping[Any, Any], name: str, default: float) -> float:
    """A single number of an observation; raises `ShoalError` when it is something else."""
    value = observation.get(name, default)
    try:
        if isinstance(value, (str, bytes)) or np.ndim(value):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ShoalError(f"observation.{name}: {shown(value)} is not a number.") from error


def answer_of(reply: NDArray[np.void], hello: Hello) -> dict[str, Any]:
    """A reply in plain Python, `command` as an array of its own."""
    record = reply[0]
    state, reason = int(record["state"]), int(record["reason"])
    if state >= len(hello.states) or reason >= len(hello.reasons):
        raise ShoalError(
            f"policy server: a reply has state {state} and reason {reason}, which its greeting does not name."
        )
    numbers = {name: float(record[name]) for name in ("reachability", "distance_m", "angle_deg", "server_s")}
    return {
        "command": record["command"].copy(),
        "state": hello.states[state],
        "reason": hello.reasons[reason],
        **{name: bool(record[name]) for name in ("commanding", "reached", "repeated")},
        **numbers,
    }
