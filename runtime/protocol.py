"""The gateway's messages and addresses, shared by server and client. Standard library and pydantic only.

One JSON object per line, at most 64 KiB, UTF-8, both ways; one reply per request, in order. Every message
carries `v`, the protocol version.

    {"v":2,"type":"goal","goal":{"position":[0.5,0.1,0.4]}}   ->  accepted | refused
    {"v":2,"type":"cancel"}                                    ->  accepted
    {"v":2,"type":"stop"}                                      ->  accepted
    {"v":2,"type":"estop"}                                     ->  accepted
    {"v":2,"type":"release"}                                   ->  accepted
    {"v":2,"type":"status"}                                    ->  status
    {"v":2,"type":"telemetry"}                                 ->  telemetry
    {"v":2,"type":"describe"}                                  ->  description
    anything else                                              ->  error
"""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from runtime.goals import first_problem
from runtime.snapshot import Snapshot
from runtime.status import GoalStatus
from sim2real.contract import Contract
from sim2real.errors import ShoalError

PROTOCOL_VERSION = 2
MAX_LINE_BYTES = 64 * 1024
_MAX_UNIX_PATH = 100
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Message(BaseModel):
    """Base of all messages."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    v: Literal[2] = 2


class GoalRequest(Message):
    """Go there. `goal` has the fields of `runtime.goals.GoalPose`; its own problems are answered by `refused`."""

    type: Literal["goal"] = "goal"
    goal: dict[str, Any]


class StatusRequest(Message):
    """Ask for the present status."""

    type: Literal["status"] = "status"


class CancelRequest(Message):
    """Forget the goal and hold position."""

    type: Literal["cancel"] = "cancel"


class StopRequest(Message):
    """Hold position and end the server."""

    type: Literal["stop"] = "stop"


class EstopRequest(Message):
    """Emergency stop: latches until a release; anyone may ask for it."""

    type: Literal["estop"] = "estop"


class ReleaseRequest(Message):
    """End the emergency stop."""

    type: Literal["release"] = "release"


class TelemetryRequest(Message):
    """Ask for the latest readings, targets and latencies."""

    type: Literal["telemetry"] = "telemetry"


class DescribeRequest(Message):
    """Ask what is being served."""

    type: Literal["describe"] = "describe"


class Accepted(Message):
    """The request reached the control loop's memory; status shows `number` once the loop has taken it."""

    type: Literal["accepted"] = "accepted"
    id: str = ""
    number: int


class Refused(Message):
    """The goal must not be followed; nothing changed."""

    type: Literal["refused"] = "refused"
    reason: str


class StatusReply(Message):
    """The present status."""

    type: Literal["status"] = "status"
    status: GoalStatus


class TelemetryReply(Message):
    """The latest tick."""

    type: Literal["telemetry"] = "telemetry"
    telemetry: Snapshot


class DescriptionReply(Message):
    """What is being served."""

    type: Literal["description"] = "description"
    contract: Contract
    facts: dict[str, str]
    """Policy file and its digest, driver, options."""


class ErrorReply(Message):
    """The request could not be understood; after an oversized one the connection is closed."""

    type: Literal["error"] = "error"
    reason: str


Request = Annotated[
    GoalRequest | StatusRequest | TelemetryRequest | DescribeRequest
    | CancelRequest | StopRequest | EstopRequest | ReleaseRequest,
    Field(discriminator="type"),
]  # fmt: skip
Reply = Annotated[
    Accepted | Refused | StatusReply | TelemetryReply | DescriptionReply | ErrorReply, Field(discriminator="type")
]
_REQUEST: TypeAdapter[Request] = TypeAdapter(Request)
_REPLY: TypeAdapter[Reply] = TypeAdapter(Reply)


def encode(message: Message) -> bytes:
    """One line."""
    return message.model_dump_json().encode() + b"\n"


def parse_request(line: bytes) -> Request:
    """Raises `ShoalError` saying what is wrong with the line."""
    try:
        return _REQUEST.validate_json(line)
    except ValidationError as error:
        raise ShoalError(f"message{_explain(error)}.") from error


def parse_reply(line: bytes) -> Reply:
    """Raises `ShoalError` when the server speaks something else."""
    try:
        return _REPLY.validate_json(line)
    except ValidationError as error:
        raise ShoalError(f"the server's reply{_explain(error)}.") from error


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    if first["loc"] and first["loc"][-1] == "v":
        return f": protocol version {str(first['input'])[:20]} is not supported, this side speaks {PROTOCOL_VERSION}"
    return first_problem(error)


class Address:
    """Where a server listens: `unix:///path`, a plain path, or `tcp://host:port` on the loopback interface."""

    def __init__(self, text: str) -> None:
        self.path: Path | None = None
        self.host, self.port = "", 0
        if text.startswith("tcp://"):
            self.host, self.port = _host_and_port(text.removeprefix("tcp://"))
        else:
            self.path = Path(text.removeprefix("unix://")).absolute()
            if len(os.fsencode(self.path)) > _MAX_UNIX_PATH:
                raise ShoalError(f"address: {self.path} is too long for a Unix socket, at most {_MAX_UNIX_PATH} bytes.")

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix://{self.path}"
        return f"tcp://[{self.host}]:{self.port}" if ":" in self.host else f"tcp://{self.host}:{self.port}"

    def connect(self, timeout_s: float) -> socket.socket:
        """A connected stream socket; raises `OSError`."""
        if self.path is None:
            connection = socket.create_connection((self.host, self.port), timeout_s)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(timeout_s)
        try:
            connection.connect(str(self.path))
        except OSError:
            connection.close()
            raise
        return connection

    def require_free(self) -> None:
        """Raise `ShoalError` when a server already answers here, or none could listen."""
        if self.path is not None and not self.path.parent.is_dir():
            raise ShoalError(f"address: there is no folder {self.path.parent} for the socket; create it first.")
        try:
            self.connect(0.5).close()
        except OSError:
            return
        raise ShoalError(f"address: another server already listens on {self}; stop it, or choose another address.")


def default_address() -> Address:
    """A Unix socket in the user's private runtime folder, which is created with mode 0700 if need be."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(base) / "shoal" if base else Path(tempfile.gettempdir()) / f"shoal-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = folder.lstat()
    except OSError as error:
        raise ShoalError(f"address: cannot create {folder}: {error.strerror}; choose one with --socket.") from error
    if owner.st_uid != os.getuid() or owner.st_mode & 0o077:
        raise ShoalError(f"address: {folder} is open to other users; remove it, or choose a path with --socket.")
    return Address(str(folder / "runtime.sock"))


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise ShoalError(f"address: {text!r} is not HOST:PORT.")
    if host not in _LOOPBACK:
        raise ShoalError(
            f"address: {host!r} is not the loopback interface; this protocol has no authentication, so tunnel it "
            "(ssh -L) instead of opening it to a network."
        )
    return host, int(port)
