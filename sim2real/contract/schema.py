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
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from sim2real.contract.base import Frozen, NonNegative, Positive, Quaternion, Vector3
from sim2real.contract.robot import Robot
from sim2real.contract.version1 import upgraded
from sim2real.errors import ContractMismatch

SCHEMA_VERSION = 2


class Reading(Frozen):
    """One named input of the policy, as the robot delivers it."""

    name: str
    size: Annotated[int, Field(ge=1)]
    unit: str
    frame: str
    source: Literal["encoder", "forward_kinematics", "last_command", "tracker", "estimator"]
    """Where a real robot gets it; simulation-only quantities cannot be named here."""
    noise_std: NonNegative = 0.0


class Action(Frozen):
    """How the policy's output in [-1, 1] becomes a joint position target.

    `target = clip(previous_target + step_max * action)`, then kept within `window` of the measured
    position without ever moving faster than `step_max` per control step.
    """

    kind: Literal["joint_position_increment"] = "joint_position_increment"
    step_max: tuple[Positive, ...]
    """Largest change of each joint's target in one control step, `[joints]`."""
    window: Positive
    """Largest distance between target and measured position, against wind-up when the arm is blocked."""
    interpolation: Literal["linear"] = "linear"
    """How the servo's target moves between two control steps."""


class Goal(Frozen):
    """What the policy is asked to reach, and within which limits it may be asked."""

    space: Literal["position", "pose"]
    frame: str = "world"
    position_min_m: Vector3
    position_max_m: Vector3
    orientation_weight_m: NonNegative = 0.0
    """Length given to one unit of the rotation's first two columns in the goal vector (pose goals)."""
    default_orientation_wxyz: Quaternion = (0.0, 1.0, 0.0, 0.0)
    """Used when a position is given without an orientation (pose goals): the tool pointing down."""
    coarse_position_m: Positive = 0.05
    coarse_angle_deg: Positive = 20.0
    fine_position_m: Positive = 0.02
    fine_angle_deg: Positive = 8.0
    hold_s: NonNegative = 0.5
    """A goal counts as reached when the tolerance holds for this long."""
    object_body: str | None = None
    """Name of the MJCF body that is to be brought to the goal; the tool itself where there is none."""

    @model_validator(mode="after")
    def _box(self) -> Self:
        for axis, low, high in zip("xyz", self.position_min_m, self.position_max_m, strict=True):
            if not low < high:
                raise ValueError(f"goal.position_min_m {axis}={low} must be below position_max_m {axis}={high}")
        if self.object_body is not None and self.space != "position":
            raise ValueError("goal.object_body is given, so goal.space must be position: objects are brought to places")
        return self

    @model_serializer(mode="wrap")
    def _without_absent_object(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Contracts about tools read, and hash, as they did before there were any about objects."""
        fields: dict[str, Any] = handler(self)
        if self.object_body is None:
            fields.pop("object_body", None)
        return fields


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
    def _whole_steps(self) -> Self:
        ratio = self.control_dt_s / self.physics_dt_s
        if abs(ratio - round(ratio)) > 1e-6 or round(ratio) < 1:
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
    task: str
    robot: Robot
    readings: Annotated[tuple[Reading, ...], Field(min_length=1)]
    action: Action
    goal: Goal
    timing: Timing
    reachability: Calibration = Calibration()
    lineage: Lineage = Lineage()

    @model_validator(mode="before")
    @classmethod
    def _older_versions(cls, data: Any) -> Any:
        return upgraded(data) if isinstance(data, dict) and data.get("schema_version") == 1 else data

    @model_validator(mode="after")
    def _sizes_agree(self) -> Self:
        joints = len(self.robot.joints)
        if len(self.action.step_max) != joints:
            raise ValueError(f"action.step_max has {len(self.action.step_max)} entries for {joints} joints")
        for joint, scale in zip(self.robot.joints, self.action.step_max, strict=True):
            limit = joint.velocity_max * self.timing.control_dt_s
            if scale > limit * (1 + 1e-9):
                raise ValueError(
                    f"action.step_max of {joint.name!r} is {scale} rad a step, above the joint's velocity "
                    f"limit of {limit} rad a step"
                )
        names = [reading.name for reading in self.readings]
        if len(set(names)) != len(names):
            raise ValueError(f"readings: names must be unique, got {names}")
        if ("object_position" in names) != (self.goal.object_body is not None):
            raise ValueError("readings: object_position is needed with goal.object_body, and only then")
        return self

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


def require_same_interface(left: Contract, right: Contract, *, left_name: str, right_name: str) -> None:
    """Raise `ContractMismatch`, naming each field with both values, unless both share one interface."""
    found = differences(left, right, ignore=PER_POLICY)
    if found:
        shown = "; ".join(f"{path}: {a!r} in {left_name}, {b!r} in {right_name}" for path, a, b in found[:6])
        more = f" (and {len(found) - 6} more fields)" if len(found) > 6 else ""
        raise ContractMismatch(
            f"{left_name} and {right_name} were made for different robots or tasks: {shown}{more}. "
            "Use files made from one task, or train again."
        )
