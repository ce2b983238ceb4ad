"""The policy server's messages on a Unix socket: one packet each, fixed layout, little-endian. J is the joints' number.

A connection begins with one packet from the server, a `Hello` as JSON: version, contract digest, names, and every
field of the two messages with type, shape, byte offset, unit and frame. After that each packet of the client is one
request and is answered by one reply. All fields lie on multiples of their size and all numbers of a request are eight
bytes wide after its first eight, so a plain C struct has the same layout.

    request   magic version flags contract sequence time_s age_s readings... joint_effort[J] goal...
    reply     magic version kind contract sequence server_s command[J] reachability distance_m angle_deg
              state reason commanding reached repeated

where the readings are those of the contract under their own names, and the goal's parts those of its graph:
`joint_position[7] joint_velocity[7] end_effector_position[3] ... goal_position[3] goal_orientation[4]`, say.

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
from pydantic import ConfigDict, StringConstraints, ValidationError
from pydantic import Field as PydanticField

from runtime.status import Reason, State
from sim2real.contract import Contract, Frozen, Positive, require_same_interface
from sim2real.errors import ContractMismatch, ShoalError, problems, shown
from sim2real.frozen import Plain

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
MAX_NUMBERS = 4096
"""Of a request."""


class Kind(IntEnum):
    """What a reply is."""

    COMMAND = 1
    ERROR = 2
    EXPLANATION = 3
    """One sentence in UTF-8 after the header, as of an error."""


_HEADER_FIELDS: list[tuple[Any, ...]] = [("magic", "<u4"), ("version", "<u2")]
_IDENTITY: list[tuple[Any, ...]] = [("contract", "V8"), ("sequence", "<u8")]
_REQUEST_HEAD: list[tuple[Any, ...]] = [
    *_HEADER_FIELDS,
    ("flags", "<u2"),
    *_IDENTITY,
    ("time_s", "<f8"),
    ("age_s", "<f8"),
]


def request_dtype(contract: Contract) -> np.dtype[np.void]:
    """Layout of one request."""
    joints = len(contract.joint_names)
    sizes = dict(contract.measured.sizes) | {"joint_effort": joints} | goal_sizes(contract)
    numbers = [(name, "<f8", (size,)) for name, size in sizes.items()]
    return np.dtype([*_REQUEST_HEAD, *numbers])


def goal_sizes(contract: Contract) -> dict[str, int]:
    """Fields of a request that say the goal, name to size."""
    sizes = dict(contract.goal.layout(contract).sizes)
    # A client of a policy that only knows places sends an orientation, too, as it always did; nobody reads it.
    return sizes | {_UNREAD: 4} if sizes == {"goal_position": 3} else sizes


_UNREAD = "goal_orientation"


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
    optional: bool = False
    """Whether NaN says that there is none."""
    unknown: bool = False
    """Whether NaN says that it is not known at present."""


class MessageLayout(Frozen):
    """Layout of one message."""

    bytes: int
    fields: tuple[Field, ...]


class Hello(Plain):
    """What a server says first."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    protocol: Literal["shoal-policy"]
    version: int
    contract_sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    task: str
    joint_names: Annotated[tuple[str, ...], PydanticField(min_length=1)]
    goal_space: str
    """`pose` where goals say how something is turned, else `position`."""
    goal_frame: str
    object_body: str | None = None
    """What is to be brought to the goal, where a tracker tells of it."""
    contract: dict[str, Any] | None = None
    """All that the policy was trained for; None from an older server."""
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
        return cls(
            protocol=PROTOCOL,
            version=VERSION,
            contract_sha256=contract.digest,
            task=contract.task,
            joint_names=contract.joint_names,
            goal_space="pose" if contract.turns else "position",
            goal_frame=contract.goal.frame,
            object_body=contract.tracked_body,
            contract=contract.model_dump(mode="json"),
            rehearses=True,
            explains=True,
            control_dt_s=contract.timing.control_dt_s,
            states=tuple(state.label for state in State),
            reasons=tuple(reason.sentence for reason in Reason),
            request=_describe(request_dtype(contract), contract),
            reply=_describe(reply_dtype(len(contract.joint_names)), contract),
        )

    @classmethod
    def parse(cls, packet: bytes) -> Hello:
        """Raises `ShoalError` when the packet is not the greeting of a server that this side understands."""
        try:
            hello = cls.model_validate_json(packet)
        except ValidationError as error:
            raise ShoalError(f"policy server: {problems(error, 'its greeting')}.") from error
        if hello.version != VERSION:
            raise ShoalError(
                f"policy server: it speaks version {shown(hello.version)} of the protocol, this side {VERSION}; "
                "install the same version of Shoal on both."
            )
        layouts = (hello.request, hello._packed()), (hello.reply, reply_dtype(len(hello.joint_names)))
        for name, (theirs, mine) in zip(("request", "reply"), layouts, strict=True):
            if [(field.name, field.offset) for field in theirs.fields] != _offsets(
                mine
            ) or theirs.bytes != mine.itemsize:
                raise ShoalError(f"policy server: its {name} has another layout than version {VERSION} has.")
        return hello

    def request_dtype(self) -> np.dtype[np.void]:
        """One request to this server."""
        return self._packed()

    def _packed(self) -> np.dtype[np.void]:
        """The head of a request, and behind it whatever this server reads, eight bytes a number."""
        rest = self.request.fields[len(_REQUEST_HEAD) :]
        names = [name for name, *_ in _REQUEST_HEAD] + [field.name for field in rest]
        flat = all(len(field.shape) == 1 and 0 < field.shape[0] <= MAX_NUMBERS for field in rest)
        if not flat or len(rest) > MAX_NUMBERS or len(set(names)) < len(names) or "" in names:
            raise ShoalError("policy server: its request makes no sense.")
        return np.dtype([*_REQUEST_HEAD, *((field.name, "<f8", field.shape) for field in rest)])

    @property
    def optional(self) -> tuple[str, ...]:
        """Fields of a request that may be left out."""
        said = tuple(field.name for field in self.request.fields if field.optional)
        return said or ("joint_effort", "goal_position", "goal_orientation")

    @property
    def unknown_at_first(self) -> tuple[str, ...]:
        """Fields of a request that are NaN until somebody knows better."""
        said = tuple(field.name for field in self.request.fields if field.unknown)
        return (*self.optional, *(said or ("object_position",)))

    def require(self, contract: Contract) -> None:
        """Raise `ContractMismatch` unless the served policy was made for the robot and task of this contract."""
        if self.contract_sha256 == contract.digest:
            return
        # Files of an older schema have another digest, and policies of one task may differ in what is their own.
        if self.contract is not None:
            served = Contract.model_validate(self.contract)
            require_same_interface(contract, served, left_name="this program", right_name="the served policy")
        else:
            raise ContractMismatch(
                f"contract: {contract.digest[:12]} (task {contract.task!r}) wanted, {self.contract_sha256[:12]} "
                f"(task {self.task!r}) served; serve the policy file that this program was made for."
            )


_UNITS = {
    "time_s": ("s", "the client's clock, when it asks; going backwards begins anew"),
    "age_s": ("s", "of the readings at time_s"),
    "server_s": ("s", "from reading the request to writing the reply"),
    "reachability": ("probability", "of reaching the goal within a training episode; NaN when unknown"),
    "distance_m": ("m", "to the goal; NaN without one"),
    "angle_deg": ("deg", "to the goal; NaN without one"),
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


def told(contract: Contract) -> str:
    """What a command is, in words."""
    if contract.robot.tells_positions:
        return "joint position targets"
    modes = (f"{joint.name}: {joint.mode}" for joint in contract.robot.joints)
    return (
        f"joint commands ({', '.join(modes)}; bring velocities and efforts to 0 where no answer comes for two periods)"
    )


def _describe(dtype: np.dtype[np.void], contract: Contract) -> MessageLayout:
    words, robot = _words(contract), contract.robot
    units = _UNITS | {
        "command": (robot.command_unit, f"{told(contract)}, to be approached linearly within control_dt_s")
    }
    fields = []
    for name, offset in _offsets(dtype):
        part = dtype[name]
        unit, meaning, optional, unknown = words.get(name, (*units.get(name, ("", "")), False, False))
        fields.append(
            Field(
                name=name,
                type=part.base.str,
                shape=part.shape,
                offset=offset,
                unit=unit,
                meaning=meaning,
                optional=optional,
                unknown=unknown,
            )
        )
    return MessageLayout(bytes=dtype.itemsize, fields=tuple(fields))


def _words(contract: Contract) -> dict[str, tuple[str, str, bool, bool]]:
    """Unit, meaning, whether it may be left out and whether it may be unknown, of readings and goal."""
    order = ", in the order of joint_names"
    found = {
        "joint_effort": ("Nm", f"measured{order}; NaN when it is not, which leaves the effort rule off", True, False),
        _UNREAD: ("wxyz", "ignored by this policy, which reaches positions", True, False),
    }
    for reading in [contract.reading(name) for name in contract.measured.sizes]:
        meaning = "measured" + (order if reading.per_joint else f"; {reading.about} in {reading.frame}")
        tracked = reading.source == "tracker"
        found[reading.name] = (reading.unit, f"{meaning}, from a tracker" if tracked else meaning, False, tracked)
    for part, reading in zip(contract.goal.parts(), contract.goal.readings(contract), strict=True):
        nothing = "no goal" if part.default is None else "the contract's default"
        meaning = f"wanted {part.reading}; NaN for {nothing}; frame {contract.goal.frame}"
        found[part.input] = (reading.unit, meaning, True, False)
    return found


def _offsets(dtype: np.dtype[np.void]) -> list[tuple[str, int]]:
    assert dtype.names is not None
    assert dtype.fields is not None
    return [(name, int(dtype.fields[name][1])) for name in dtype.names]
