"""What a policy server says first: which policy it serves, and how its messages are laid out."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import ConfigDict, StringConstraints, ValidationError
from pydantic import Field as PydanticField

from runtime.policy_server.packets import MAX_NUMBERS, REQUEST_HEAD, UNREAD, VERSION, reply_dtype, request_dtype
from runtime.status import Reason, State
from sim2real.contract import Contract, Frozen, Positive, require_same_interface
from sim2real.errors import ContractMismatch, ShoalError, problems, shown
from sim2real.frozen import Plain

PROTOCOL: Literal["shoal-policy"] = "shoal-policy"


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
        rest = self.request.fields[len(REQUEST_HEAD) :]
        names = [name for name, *_ in REQUEST_HEAD] + [field.name for field in rest]
        flat = all(len(field.shape) == 1 and 0 < field.shape[0] <= MAX_NUMBERS for field in rest)
        if not flat or len(rest) > MAX_NUMBERS or len(set(names)) < len(names) or "" in names:
            raise ShoalError("policy server: its request makes no sense.")
        return np.dtype([*REQUEST_HEAD, *((field.name, "<f8", field.shape) for field in rest)])

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
        UNREAD: ("wxyz", "ignored by this policy, which reaches positions", True, False),
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
