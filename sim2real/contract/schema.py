"""The contract: everything that simulation and robot must agree on, in one typed, hashed model.

A `Contract` is built from a task and the compiled MJCF when an environment is made, and travels unchanged
through checkpoint, student, ONNX file, runtime and log. Every hand-over calls `require_same_interface`, which
names each field that differs with both values.

    contract = Contract.model_validate_json(text)     # floats keep full precision
    contract.digest                                   # SHA-256 of the canonical JSON
    require_same_interface(teacher.contract, contract, left="teacher", right="student")

Units are SI; quaternions are wxyz, as in MuJoCo. Joint arrays are in policy order, the order of
`robot.joints`; a driver maps by name.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from sim2real.contract.version1 import upgraded
from sim2real.errors import ContractMismatch, raise_each, shown
from sim2real.frozen import Frozen, Name, Positive, Quaternion, once_each
from sim2real.robots.robot import Robot
from sim2real.terms import KNOWN_TO_CONTROLLERS, Action, Feature, Goal, Layout, Reading, Termination, any_of
from sim2real.terms.poses import Orientation
from sim2real.world.map import Map

SCHEMA_VERSION = 2
_LARGEST_NUMBER = 1e9
"""In SI units."""
_MOST_SUBSTEPS, _MOST_EPISODE_STEPS = 10_000, 1_000_000
_SHORTEST_S, _LONGEST_S = 1e-6, 10.0
"""A physics step below and a control step beyond are no simulation's and no robot's."""


class Timing(Frozen):
    """Rates and delays. One control step is `substeps` physics steps."""

    physics_dt_s: Positive
    control_dt_s: Positive
    episode_s: Positive

    @property
    def substeps(self) -> int:
        """Physics steps in one control step."""
        return round(self.control_dt_s / self.physics_dt_s)

    @property
    def episode_steps(self) -> int:
        """Control steps in one training episode."""
        return round(self.episode_s / self.control_dt_s)

    @model_validator(mode="after")
    def _plausible(self) -> Self:
        if self.physics_dt_s < _SHORTEST_S:
            raise ValueError(f"timing.physics_dt_s {self.physics_dt_s:g} is below {_SHORTEST_S:g}; write it in seconds")
        if self.control_dt_s > _LONGEST_S:
            raise ValueError(f"timing.control_dt_s {self.control_dt_s:g} is beyond {_LONGEST_S:g}; write it in seconds")
        if self.control_dt_s / self.physics_dt_s > _MOST_SUBSTEPS:
            raise ValueError(
                f"timing.physics_dt_s {self.physics_dt_s:g} makes more than {_MOST_SUBSTEPS:,} physics steps of one "
                f"control step of {self.control_dt_s:g} s; make it longer"
            )
        if self.episode_s / self.control_dt_s > _MOST_EPISODE_STEPS:
            raise ValueError(
                f"timing.episode_s {self.episode_s:g} makes more than {_MOST_EPISODE_STEPS:,} control steps of one "
                "episode; make it shorter"
            )
        return self

    @model_validator(mode="after")
    def _whole_steps(self) -> Self:
        if self.episode_s < self.control_dt_s * (1 - 1e-6):
            raise ValueError(
                f"timing.episode_s {self.episode_s:g} is shorter than one control step of {self.control_dt_s:g} s; "
                "make it longer"
            )
        ratio = self.control_dt_s / self.physics_dt_s
        if not math.isfinite(ratio) or abs(ratio - round(ratio)) > 1e-6 or round(ratio) < 1:
            raise ValueError(
                f"timing.control_dt_s {self.control_dt_s} must be a whole multiple of physics_dt_s {self.physics_dt_s}"
            )
        return self


class Calibration(Frozen):
    """Platt scaling of the reachability head: P(reached) = sigmoid(slope * score + offset)."""

    slope: float = 1.0
    offset: float = 0.0
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5


class Lineage(Frozen):
    """Where a policy came from: digests and versions, empty until known."""

    teacher: str = ""
    student: str = ""
    teacher_depth: Annotated[int, Field(ge=0)] = 0
    versions: dict[str, str] = Field(default_factory=dict)


class Contract(Frozen):
    """Everything that simulation and robot must agree on."""

    schema_version: Literal[2] = 2
    task: Name
    robot: Robot
    readings: Annotated[tuple[any_of(Reading), ...], Field(min_length=1)]  # type: ignore[valid-type]
    features: tuple[any_of(Feature), ...] = ()  # type: ignore[valid-type]
    action: any_of(Action)  # type: ignore[valid-type]
    goal: any_of(Goal)  # type: ignore[valid-type]
    terminations: tuple[any_of(Termination), ...] = ()  # type: ignore[valid-type]
    map: Map | None = None
    """The walls around the robot, where the task has some; simulations put them up."""
    timing: Timing
    reachability: Calibration = Calibration()
    lineage: Lineage = Lineage()

    @model_validator(mode="before")
    @classmethod
    def _older_versions(cls, data: Any) -> Any:
        return upgraded(data) if isinstance(data, dict) and data.get("schema_version") == 1 else data

    @model_serializer(mode="wrap")
    def _without_absent(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What no file of before has is left out where it is not used, so that their digests stay."""
        plain: dict[str, Any] = serialise(self)
        if self.map is None:
            plain.pop("map", None)
        return plain

    @model_validator(mode="after")
    def _plausible(self) -> Self:
        for path, value in _numbers("", self.model_dump()):
            if abs(value) > _LARGEST_NUMBER:
                raise ValueError(f"{path} {shown(value)} is beyond {_LARGEST_NUMBER:g}, and no robot's")
        return self

    @model_validator(mode="after")
    def _sizes_agree(self) -> Self:
        joints = len(self.robot.joints)
        if len(self.action.step_max) != joints:
            raise ValueError(
                f"action.step_max has {len(self.action.step_max)} entries for {joints} joints; give one for each"
            )
        for joint, scale in zip(self.robot.joints, self.action.step_max, strict=True):
            limit = joint.velocity_max * self.timing.control_dt_s
            if joint.mode == "position" and scale > limit * (1 + 1e-9):
                raise ValueError(
                    f"action.step_max of {joint.name!r} is {scale} rad a step, above the joint's velocity "
                    f"limit of {limit} rad a step"
                )
        raise_each(_reading_problems(self))
        return self

    def reading(self, name: str) -> Reading:
        """The reading of that name; `KeyError` where there is none."""
        return _by_name(self)[name]

    @property
    def position_limits(self) -> tuple[np.ndarray, np.ndarray]:
        """Least and largest position of every joint, `[J]` each, policy order; of endless ones -pi and pi."""
        return _position_limits(self)

    @property
    def command_limits(self) -> tuple[np.ndarray, np.ndarray]:
        """Least and largest command, `[J]` each, policy order; infinite for positions of endless joints."""
        return _command_limits(self)

    @property
    def home_positions(self) -> np.ndarray:
        """Where every joint is at home, `[J]` rad or m, policy order."""
        return _home_positions(self)

    @property
    def workspace(self) -> tuple[np.ndarray, float]:
        """Centre `[3]` m and largest half width in m of the goals' box, the scale of all positions that networks see;
        1 m about the world's origin where goals are no places.
        """
        box = self.goal.box()
        if box is None:
            return np.zeros(3), 1.0
        low, high = (np.array(corner) for corner in box)
        return (low + high) / 2, float((high - low).max() / 2)

    @property
    def tracked(self) -> str | None:
        """Name of the reading that a tracker tells, where there is one."""
        return next((reading.name for reading in self.readings if reading.source == "tracker"), None)

    @property
    def tracked_body(self) -> str | None:
        """Name of the body that a tracker tells about, where there is one."""
        return None if self.tracked is None else getattr(self.reading(self.tracked), "of", None)

    @property
    def turns(self) -> bool:
        """Whether goals say how something is to be turned."""
        return any(reading.turned for reading in self.goal.readings(self))

    @property
    def default_orientation_wxyz(self) -> Quaternion:
        """The orientation of goals that don't say any; the tool pointing down where goals have none."""
        for part, reading in zip(self.goal.parts(), self.goal.readings(self), strict=True):
            if isinstance(reading, Orientation) and part.default is not None:
                w, x, y, z = part.default
                return w, x, y, z
        return 0.0, 1.0, 0.0, 0.0

    @property
    def observation(self) -> Layout:
        """Which entries of an observation come from which reading or feature."""
        sizes = {reading.name: reading.encoded_size for reading in self.readings}
        return Layout.of(sizes | {f"feature {i}": feature.size for i, feature in enumerate(self.features)})

    @property
    def measured(self) -> Layout:
        """What the robot delivers: all readings but those that the controller knows by itself."""
        return Layout.of({r.name: r.size for r in self.readings if r.source not in KNOWN_TO_CONTROLLERS})

    @property
    def canonical_json(self) -> str:
        """Sorted keys, no spaces, shortest exact floats: equal contracts give equal text."""
        return _canonical(self.model_dump(mode="json"))

    @property
    def digest(self) -> str:
        """SHA-256 of `canonical_json`, hexadecimal."""
        return plain_digest(self.model_dump(mode="json"))

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Joint names in policy order."""
        return tuple(joint.name for joint in self.robot.joints)

    def with_lineage(self, **fields: Any) -> Contract:
        """A copy with some lineage fields replaced."""
        return self.model_copy(update={"lineage": Lineage(**(self.lineage.model_dump() | fields))})


def _reading_problems(contract: Contract) -> list[str]:
    """What is wrong with the readings, and with what is made of them."""
    known = {reading.name: reading for reading in contract.readings}
    names = [reading.name for reading in contract.readings]
    twice = sorted({name for name in names if names.count(name) > 1})
    problems = [
        f"readings: the name {name!r} stands {names.count(name)} times; give one of them another" for name in twice
    ]
    unstated = [reading.name or reading.kind for reading in contract.readings if not (reading.name and reading.size)]
    if unstated:
        problems.append(f"readings: name and size of {', '.join(unstated)} are not stated")
    users: list[tuple[str, Feature | Action | Goal]] = [(f"feature {term.kind}", term) for term in contract.features]
    users += [(f"action {contract.action.kind}", contract.action), (f"goal {contract.goal.kind}", contract.goal)]
    for what, term in users:
        missing = [name for name in term.needs if name not in known]
        if missing:
            problems.append(f"readings: {what} needs {', '.join(missing)}; add it, or name another one there")
        else:
            problems += [f"{what}: {said}" for said in term.misfits(known)]
    return problems


def _constant(values: Any) -> np.ndarray:
    """An array that nobody can change by mistake, since all that ask get the same."""
    array = np.array(values, np.float64)
    array.flags.writeable = False
    return array


@once_each
def _position_limits(contract: Contract) -> tuple[np.ndarray, np.ndarray]:
    joints = contract.robot.joints
    return _constant([joint.position_min for joint in joints]), _constant([joint.position_max for joint in joints])


@once_each
def _command_limits(contract: Contract) -> tuple[np.ndarray, np.ndarray]:
    low, high = zip(*(joint.command_range for joint in contract.robot.joints), strict=True)
    return _constant(low), _constant(high)


@once_each
def _home_positions(contract: Contract) -> np.ndarray:
    return _constant([joint.home_position for joint in contract.robot.joints])


@once_each
def _by_name(contract: Contract) -> dict[str, Reading]:
    return {reading.name: reading for reading in contract.readings}


def plain_digest(plain: Any) -> str:
    """SHA-256 of the canonical JSON of a contract's plain data, whatever its schema version."""
    return hashlib.sha256(_canonical(plain).encode()).hexdigest()


def _canonical(plain: Any) -> str:
    return json.dumps(_positive_zeros(plain), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _positive_zeros(value: Any) -> Any:
    """A dumped value with -0.0 replaced by 0.0, which equals it but reads differently."""
    if isinstance(value, dict):
        return {key: _positive_zeros(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_positive_zeros(item) for item in value]
    return value + 0.0 if isinstance(value, float) else value


def _numbers(path: str, value: Any) -> Iterator[tuple[str, float]]:
    """Every number of a dumped value, with the path of its field."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _numbers(f"{path}.{key}" if path else str(key), part)
    elif isinstance(value, (list, tuple)):
        for index, part in enumerate(value):
            yield from _numbers(f"{path}[{index}]", part)
    elif isinstance(value, (int, float)):
        yield path, value


PER_POLICY = ("lineage", "reachability")
"""Fields that belong to one policy; two policies with the same interface may differ in them."""


def differences(left: Contract, right: Contract, *, ignore: tuple[str, ...] = ()) -> list[tuple[str, Any, Any]]:
    """Every leaf field in which two contracts differ, as `(path, left value, right value)`."""
    skip = set(ignore)
    first, second = (
        {key: value for key, value in c.model_dump(mode="json").items() if key not in skip} for c in (left, right)
    )
    return list(_walk("", first, second))


def _walk(path: str, left: Any, right: Any) -> list[tuple[str, Any, Any]]:
    if isinstance(left, dict) and isinstance(right, dict):
        keys = list(left) + [key for key in right if key not in left]
        return [
            item
            for key in keys
            for item in _walk(f"{path}.{key}" if path else key, left.get(key, "absent"), right.get(key, "absent"))
        ]
    if isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        return [item for i, pair in enumerate(zip(left, right, strict=True)) for item in _walk(f"{path}[{i}]", *pair)]
    return [] if left == right and type(left) is type(right) else [(path, left, right)]


_MOST_SHOWN = 4
"""Fields that differ, named with both values; of the others only their number is said."""


def require_same_interface(left: Contract, right: Contract, *, left_name: str, right_name: str) -> None:
    """Raise `ContractMismatch`, naming each field with both values, unless both share one interface."""
    found = differences(left, right, ignore=PER_POLICY)
    if found:
        named = "; ".join(
            f"{path}: {shown(a)} in {left_name}, {shown(b)} in {right_name}" for path, a, b in found[:_MOST_SHOWN]
        )
        more = f" (and {len(found) - _MOST_SHOWN} more fields)" if len(found) > _MOST_SHOWN else ""
        raise ContractMismatch(
            f"{left_name} and {right_name} were made for different robots or tasks: {named}{more}. "
            "Use files made from one task, or train again."
        )
