"""The gateway's messages, shared by server and client; documented in docs/protocol.md. Pydantic only.

One JSON object per line, UTF-8, both ways; one reply per request, in order. Every message carries `v`, the protocol
version, and a request may carry `lease`.

    {"v":2,"type":"goal","goal":{"position":[0.5,0.1,0.4]}}   ->  accepted | refused
    {"v":2,"type":"cancel"}                                    ->  accepted | refused
    {"v":2,"type":"goals"}                                     ->  goals
    {"v":2,"type":"subscribe"}                                 ->  goals, goals, ... one at every change
    {"v":2,"type":"object","position":[0.5,0.1,0.04]}          ->  accepted | refused
    {"v":2,"type":"status"}                                    ->  status
    {"v":2,"type":"telemetry"}                                 ->  telemetry
    {"v":2,"type":"describe"}                                  ->  description
    {"v":2,"type":"estop"}                                     ->  accepted
    {"v":2,"type":"release"}                                   ->  accepted | refused
    {"v":2,"type":"stop"}                                      ->  accepted | refused
    {"v":2,"type":"lease","action":"acquire","name":"page"}    ->  lease | refused
    {"v":2,"type":"hello","token":"..."}                       ->  welcome
    anything else                                              ->  error
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from runtime.goals.progress import GoalProgress
from runtime.protocol.snapshot import Snapshot
from runtime.status import GoalStatus
from sim2real.contract import Contract, Quaternion, Vector3
from sim2real.errors import ShoalError, problems, shown

PROTOCOL_VERSION = 2
MAX_LINE_BYTES = 64 * 1024
"""Of a request."""
MAX_REPLY_BYTES = 256 * 1024

_ESCAPED = re.compile(rb"\\\\|\\u00(?:[01][0-9a-fA-F]|7[fF]|[89][0-9a-fA-F])|\\[bfnrt]|\xc2[\x80-\x9f]|\x7f")
"""In a JSON line, where those below a space are always written with a backslash: nobody shows a terminal what a server
says it should obey."""
_ShortText = Annotated[str, Field(max_length=64)]


class Message(BaseModel):
    """Base of all messages."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    v: Literal[2] = 2


class RequestMessage(Message):
    """Base of what clients send."""

    lease: _ShortText | None = None
    """From a lease reply; renewed by every message that carries it."""


class GoalRequest(RequestMessage):
    """Go there. `goal` has the fields of a kind of goal in `runtime.goals.messages`; its problems are `refused`."""

    type: Literal["goal"] = "goal"
    goal: dict[str, Any]


class CancelRequest(RequestMessage):
    """Forget one goal, or all, and hold position if it was in force."""

    type: Literal["cancel"] = "cancel"
    id: _ShortText | None = None


class GoalsRequest(RequestMessage):
    """Ask what became of the goals."""

    type: Literal["goals"] = "goals"


class SubscribeRequest(RequestMessage):
    """Be told at every change; the connection then takes no further requests."""

    type: Literal["subscribe"] = "subscribe"


class ObjectReport(RequestMessage):
    """Where a tracker sees the object that goals are about; see `runtime.control.object_tracker`."""

    type: Literal["object"] = "object"
    position: Vector3
    """m."""
    orientation_wxyz: Quaternion | None = None
    """For policies that are told how it is turned."""
    stamp: float | None = None
    """When it was seen, seconds of Unix time; now if not given."""
    source: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:@-]{1,32}$")] = "tracker"
    """One source at a time is listened to."""
    frame: str = "world"


class StatusRequest(RequestMessage):
    """Ask for the present status."""

    type: Literal["status"] = "status"


class TelemetryRequest(RequestMessage):
    """Ask for the latest readings, targets and latencies."""

    type: Literal["telemetry"] = "telemetry"


class DescribeRequest(RequestMessage):
    """Ask what is being served."""

    type: Literal["describe"] = "describe"


class StopRequest(RequestMessage):
    """Hold position and end the server."""

    type: Literal["stop"] = "stop"


class EstopRequest(RequestMessage):
    """Emergency stop: latches until a release; anyone may ask for it, lease or not."""

    type: Literal["estop"] = "estop"


class ReleaseRequest(RequestMessage):
    """End the emergency stop; one that the sender did not see stays."""

    type: Literal["release"] = "release"
    estops: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    """`GoalStatus.estops` when it was decided; nothing is released if the stop was pressed again since. Without it, the
    stop in force is released whatever it is."""


class LeaseRequest(RequestMessage):
    """Take, keep or give up the authority to command."""

    type: Literal["lease"] = "lease"
    action: Literal["acquire", "renew", "end"]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:@-]{1,32}$")] = "client"
    """Shown to those who are refused meanwhile."""
    duration_s: Annotated[float, Field(ge=0.2, le=60)] = 5.0
    """It runs out when no message has carried it for this time."""


class HelloRequest(RequestMessage):
    """The first message where the server asks for a token."""

    type: Literal["hello"] = "hello"
    token: Annotated[str, Field(max_length=1024)] = ""


class Accepted(Message):
    """The request reached the control loop's memory; status shows `number` once the loop has taken it."""

    type: Literal["accepted"] = "accepted"
    id: str = ""
    number: int


class Refused(Message):
    """Reply to a request that must not be carried out; nothing changed."""

    type: Literal["refused"] = "refused"
    reason: str


class StatusReply(Message):
    """The present status."""

    type: Literal["status"] = "status"
    status: GoalStatus
    lease_holder: str = ""
    """Who may command; empty when anyone may."""
    lease_remaining_s: float = 0.0


class GoalsReply(Message):
    """The goals that wait, the one in force, and the latest ones that are done with, oldest first."""

    type: Literal["goals"] = "goals"
    number: int
    """The latest request that the control loop has taken."""
    goals: tuple[GoalProgress, ...]


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


class LeaseReply(Message):
    """The lease, to be carried by the holder's messages; empty after its end."""

    type: Literal["lease"] = "lease"
    lease: str
    expires_in_s: float


class Welcome(Message):
    """The token was right, or none was needed."""

    type: Literal["welcome"] = "welcome"


class ErrorReply(Message):
    """The request could not be understood; after an oversized one, or a wrong token, the connection is closed."""

    type: Literal["error"] = "error"
    reason: str


Request = Annotated[
    GoalRequest
    | CancelRequest
    | GoalsRequest
    | SubscribeRequest
    | ObjectReport
    | StatusRequest
    | TelemetryRequest
    | DescribeRequest
    | StopRequest
    | EstopRequest
    | ReleaseRequest
    | LeaseRequest
    | HelloRequest,
    Field(discriminator="type"),
]
Reply = Annotated[
    Accepted
    | Refused
    | StatusReply
    | GoalsReply
    | TelemetryReply
    | DescriptionReply
    | LeaseReply
    | Welcome
    | ErrorReply,
    Field(discriminator="type"),
]
_REQUEST: TypeAdapter[Request] = TypeAdapter(Request)
_REPLY: TypeAdapter[Reply] = TypeAdapter(Reply)


def encode(message: Message) -> bytes:
    """Encode a message as one line."""
    return message.model_dump_json(exclude_none=isinstance(message, RequestMessage)).encode() + b"\n"


def parse_request(line: bytes) -> Request:
    """Raises `ShoalError` saying what is wrong with the line."""
    try:
        return _REQUEST.validate_json(line)
    except ValidationError as error:
        raise ShoalError(_explain(error, "message")) from error


def parse_reply(line: bytes) -> Reply:
    """Raises `ShoalError` when the server speaks something else."""
    try:
        return _REPLY.validate_json(_ESCAPED.sub(_shown_plainly, line))
    except ValidationError as error:
        raise ShoalError(_explain(error, "the server's reply")) from error


def _shown_plainly(found: re.Match[bytes]) -> bytes:
    backslash = found[0] == rb"\\"
    return found[0] if backslash else "\N{REPLACEMENT CHARACTER}".encode()


def _explain(error: ValidationError, what: str) -> str:
    for problem in error.errors(include_url=False):
        if problem["loc"] and problem["loc"][-1] == "v":
            given = shown(problem["input"])
            return f"{what}: protocol version {given} is not supported, this side speaks {PROTOCOL_VERSION}."
    return f"{problems(error, what)}."
