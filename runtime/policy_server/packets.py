"""The policy server's messages on a Unix socket: one packet each, fixed layout, little-endian. J is the joints' number.

A connection begins with one packet from the server, a `Hello` as JSON: version, contract digest, names, and every
field of the two messages with type, shape, byte offset, unit and frame. After that each packet of the client is one
request and is answered by one reply. All fields lie on multiples of their size and all numbers of a request are eight
bytes wide after its first eight, so a plain C struct has the same layout.

    request   magic version flags contract sequence time_s age_s joint_position[J] joint_velocity[J]
              end_effector_position[3] end_effector_orientation[4] (object_position[3]) joint_effort[J]
              goal_position[3] goal_orientation[4]
    reply     magic version kind contract sequence server_s command[J] reachability distance_m angle_deg
              state reason commanding reached repeated

where the object's position is there for policies with an object only, as `Hello.object_body` tells.

`contract` is the first eight bytes of the contract's SHA-256, as they stand: a client that was built for another
policy is answered by an error. So is everything else that cannot be served: `kind` is then `Kind.ERROR`, and one
sentence in UTF-8 follows the first 24 bytes. In the same way a request with the flag `EXPLAIN` is answered: by why the
robot is in its state, with the reading that is at fault.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError
from pydantic import Field as PydanticField

from runtime.goals.messages import first_problem
from runtime.status import Reason, State
from sim2real.contract import Contract, Frozen, Positive
from sim2real.errors import ContractMismatch, ShoalError

PROTOCOL = "shoal-policy"
VERSION = 1
MAGIC = 0x504C4853
"""`SHLP` in memory."""
HEADER = struct.Struct("<IHH8sQ")
"""magic, version, flags or kind, contract, sequence."""
RESET = 1
"""Request flag: begin anew, from the measured joints."""
EXPLAIN = 4
"""Request flag: say in words why the robot's state is what it is; nothing is computed."""
WARM_UP = 2
"""Request flag: compute an answer and throw it away; the reply is the last one again."""
MAX_ERROR_BYTES = 500


class Kind(IntEnum):
    """What a reply is."""

    COMMAND = 1
    ERROR = 2
    EXPLANATION = 3
    """One sentence in UTF-8 after the header, as of an error."""


_HEADER_FIELDS: list[tuple[Any, ...]] = [("magic", "<u4"), ("version", "<u2")]
_IDENTITY: list[tuple[Any, ...]] = [("contract", "V8"), ("sequence", "<u8")]


def request_dtype(joints: int, *, with_object: bool = False) -> np.dtype[np.void]:
    """One request."""
    return np.dtype(
        [
            *_HEADER_FIELDS,
            ("flags", "<u2"),
            *_IDENTITY,
            ("time_s", "<f8"),
            ("age_s", "<f8"),
            ("joint_position", "<f8", joints),
            ("joint_velocity", "<f8", joints),
            ("end_effector_position", "<f8", 3),
            ("end_effector_orientation", "<f8", 4),
            *([("object_position", "<f8", 3)] if with_object else []),
            ("joint_effort", "<f8", joints),
            ("goal_position", "<f8", 3),
            ("goal_orientation", "<f8", 4),
        ]
    )


def input_names(request: np.dtype[np.void]) -> tuple[str, ...]:
    """Fields of a request that a policy or a safety rule reads."""
    names = request.names or ()
    return names[names.index("age_s") + 1 :]


def reply_dtype(joints: int) -> np.dtype[np.void]:
    """One reply of kind `COMMAND`."""
    return np.dtype(
        [
            *_HEADER_FIELDS,
            ("kind", "<u2"),
            *_IDENTITY,
            ("server_s", "<f8"),
            ("command", "<f8", joints),
            ("reachability", "<f8"),
            ("distance_m", "<f8"),
            ("angle_deg", "<f8"),
            ("state", "u1"),
            ("reason", "u1"),
            ("commanding", "u1"),
            ("reached", "u1"),
            ("repeated", "u1"),
            ("padding", "u1", 3),
        ]
    )


def memory_of(record: np.ndarray) -> memoryview:
    """The bytes of a message, writable in place."""
    return memoryview(record.data).cast("B")


class Field(Frozen):
    """One field of a message."""

    name: str
    type: str
    """As NumPy writes it: `<f8` is a little-endian double."""
    shape: tuple[int, ...]
    offset: int
    unit: str = ""
    meaning: str = ""


class MessageLayout(Frozen):
    """One message."""

    bytes: int
    fields: tuple[Field, ...]


class Hello(BaseModel):
    """What a server says first."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    protocol: Literal["shoal-policy"]
    version: int
    contract_sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    task: str
    joint_names: Annotated[tuple[str, ...], PydanticField(min_length=1)]
    goal_space: Literal["position", "pose"]
    goal_frame: str
    object_body: str | None = None
    """What is to be brought to the goal; the tool itself where there is none."""
    rehearses: bool = False
    """Whether the server knows the flag `WARM_UP`; to others it would be a request like any other."""
    explains: bool = False
    """Whether the server knows the flag `EXPLAIN`."""
    control_dt_s: Positive
    """One request each; see `runtime.policy_server.session` for what asking more often does."""
    states: tuple[str, ...]
    """Names of the reply's `state`, by number."""
    reasons: tuple[str, ...]
    """Sentences of the reply's `reason`, by number."""
    request: MessageLayout
    reply: MessageLayout

    @classmethod
    def of(cls, contract: Contract) -> Hello:
        """The greeting of a server with this contract's policy."""
        joints = len(contract.joint_names)
        return cls(
            protocol=PROTOCOL,
            version=VERSION,
            contract_sha256=contract.digest,
            task=contract.task,
            joint_names=contract.joint_names,
            goal_space="pose" if contract.turns else "position",
            goal_frame=contract.goal.frame,
            object_body=contract.tracked_body,
            rehearses=True,
            explains=True,
            control_dt_s=contract.timing.control_dt_s,
            states=tuple(state.label for state in State),
            reasons=tuple(reason.sentence for reason in Reason),
            request=_describe(request_dtype(joints, with_object=contract.tracked is not None), contract),
            reply=_describe(reply_dtype(joints), contract),
        )

    @classmethod
    def parse(cls, packet: bytes) -> Hello:
        """Raises `ShoalError` when the packet is not the greeting of a server that this side understands."""
        try:
            hello = cls.model_validate_json(packet)
        except ValidationError as error:
            raise ShoalError(f"policy server: its greeting{first_problem(error)}.") from error
        if hello.version != VERSION:
            raise ShoalError(
                f"policy server: it speaks version {hello.version} of the protocol, this side {VERSION}; "
                "install the same version of Shoal on both."
            )
        for name, mine, theirs in (
            ("request", hello.request_dtype(), hello.request),
            ("reply", reply_dtype(len(hello.joint_names)), hello.reply),
        ):
            if [(field.name, field.offset) for field in theirs.fields] != _offsets(mine):
                raise ShoalError(f"policy server: its {name} has another layout than version {VERSION} has.")
        return hello

    def request_dtype(self) -> np.dtype[np.void]:
        """One request to this server."""
        return request_dtype(len(self.joint_names), with_object=self.object_body is not None)

    def require(self, contract: Contract) -> None:
        """Raise `ContractMismatch` unless the served policy has exactly this contract."""
        if self.contract_sha256 != contract.digest:
            raise ContractMismatch(
                f"contract: {contract.digest[:12]} (task {contract.task!r}) wanted, {self.contract_sha256[:12]} "
                f"(task {self.task!r}) served; serve the policy file that this program was made for."
            )


_UNITS = {
    "time_s": ("s", "the client's clock, when it asks; going backwards begins anew"),
    "age_s": ("s", "of the readings at time_s"),
    "joint_position": ("rad", "measured, in the order of joint_names"),
    "joint_velocity": ("rad/s", "measured, in the order of joint_names"),
    "end_effector_position": ("m", "measured tool"),
    "end_effector_orientation": ("wxyz", "measured tool, unit quaternion"),
    "object_position": ("m", "of the object, from a tracker"),
    "joint_effort": ("Nm", "measured; NaN when it is not, which leaves the effort rule off"),
    "goal_position": ("m", "NaN for no goal"),
    "goal_orientation": ("wxyz", "NaN for the contract's default; ignored by policies that reach positions"),
    "server_s": ("s", "from reading the request to writing the reply"),
    "command": ("rad", "joint position targets, to be approached linearly within control_dt_s"),
    "reachability": ("probability", "of reaching the goal within a training episode; NaN when unknown"),
    "distance_m": ("m", "tool, or object, to goal; NaN without a goal"),
    "angle_deg": ("deg", "tool to goal orientation; NaN without a goal"),
    "state": ("", "index into states"),
    "reason": ("", "index into reasons"),
    "commanding": ("", "0 while command must not be sent: no trustworthy readings yet"),
    "reached": ("", "1 once the goal was held within tolerance"),
    "repeated": ("", "1 when the request came too early and the last command was repeated"),
    "flags": ("", "1: begin anew; 2: a warm-up, of which nothing stays; 4: explain the state"),
    "kind": ("", "1: command, 2: error, 3: explanation, both one sentence in UTF-8 from byte 24 on"),
    "contract": ("", "first eight bytes of contract_sha256"),
    "sequence": ("", "chosen by the client, repeated in the reply"),
}
_FRAMED = (
    "end_effector_position",
    "end_effector_orientation",
    "object_position",
    "goal_position",
    "goal_orientation",
)


def _describe(dtype: np.dtype[np.void], contract: Contract) -> MessageLayout:
    fields = []
    for name, offset in _offsets(dtype):
        part = dtype[name]
        unit, meaning = _UNITS.get(name, ("", ""))
        if name in _FRAMED:
            meaning = f"{meaning}; frame {contract.goal.frame}"
        fields.append(Field(name=name, type=part.base.str, shape=part.shape, offset=offset, unit=unit, meaning=meaning))
    return MessageLayout(bytes=dtype.itemsize, fields=tuple(fields))


def _offsets(dtype: np.dtype[np.void]) -> list[tuple[str, int]]:
    assert dtype.names is not None
    assert dtype.fields is not None
    return [(name, int(dtype.fields[name][1])) for name in dtype.names]
