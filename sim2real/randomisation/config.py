"""What differs from robot to robot and from run to run, as distributions with units: one description for both
simulation backends, the stress tests and identification.

    setting = load_randomisation("mild")              # a preset, or the path of a YAML file
    setting = Randomisation.model_validate({"preset": "mild", "payload_mass_kg": {"uniform": [0, 2]}})
    setting.active                                    # names of the terms that change anything

A term is drawn once for each simulated robot (`sampling.Draws`). `_scale` terms multiply what the MJCF says; the others
are in SI units. The default of every term changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from sim2real.contract import Frozen
from sim2real.errors import ShoalError
from sim2real.files import read_model, read_yaml
from sim2real.randomisation.distributions import Distribution, Each, Fixed

Preset = Literal["off", "mild", "hard"]
Per = Literal["robot", "joint", "link", "link_xyz", "xy", "xyz"]


@dataclass(frozen=True)
class Term:
    """What a term is drawn for, which value changes nothing, and which values make sense."""

    per: Per
    neutral: float
    low: float
    high: float = float("inf")


_Scale = Term("robot", 1.0, 1e-3)
_ScalePerJoint, _ScalePerLink = Term("joint", 1.0, 1e-3), Term("link", 1.0, 1e-3)
_ScaleOrZeroPerJoint = Term("joint", 1.0, 0.0)
_Size = Term("robot", 0.0, 0.0)
_OffsetPerJoint, _OffsetXyz = Term("joint", 0.0, -float("inf")), Term("xyz", 0.0, -float("inf"))

_ONE, _ZERO = Fixed(fixed=1.0), Fixed(fixed=0.0)


class Randomisation(Frozen):
    """Distributions of everything that may differ between simulation and robot."""

    # Dynamics: fields of the model.
    friction_scale: Annotated[Distribution, _Scale] = _ONE
    """Sliding friction of all contacts."""
    link_mass_scale: Annotated[Distribution, _ScalePerLink] = _ONE
    """Mass of each link, and its inertia with it. Gravity compensation (`gravcomp`) keeps to the nominal mass."""
    link_inertia_scale: Annotated[Distribution, _ScalePerLink] = _ONE
    """Rotational inertia of each link, on top of `link_mass_scale`."""
    link_com_offset_m: Annotated[Distribution, Term("link_xyz", 0.0, -float("inf"))] = _ZERO
    """Displacement of each link's centre of mass along each axis of the link's frame."""
    payload_mass_kg: Annotated[Distribution, _Size] = _ZERO
    """A point mass at the tool that the robot's own gravity compensation doesn't know of."""
    payload_offset_m: Annotated[Distribution, _OffsetXyz] = _ZERO
    """Where that mass sits in the tool's frame."""
    armature_scale: Annotated[Distribution, _ScalePerJoint] = _ONE
    """Reflected inertia of each motor."""
    damping_scale: Annotated[Distribution, _ScaleOrZeroPerJoint] = _ONE
    """Viscous friction of each joint."""
    friction_loss_scale: Annotated[Distribution, _ScaleOrZeroPerJoint] = _ONE
    """Coulomb friction of each joint."""
    friction_loss_add_nm: Annotated[Distribution, Term("joint", 0.0, 0.0)] = _ZERO
    """Coulomb friction added to each joint, for models that have none."""
    servo_stiffness_scale: Annotated[Distribution, _ScalePerJoint] = _ONE
    """Proportional gain of each position servo."""
    servo_damping_scale: Annotated[Distribution, _ScaleOrZeroPerJoint] = _ONE
    """Derivative gain of each position servo."""
    effort_limit_scale: Annotated[Distribution, _ScalePerJoint] = _ONE
    """Torque at which each servo saturates."""
    gravity_scale: Annotated[Distribution, Term("robot", 1.0, 0.0)] = _ONE
    """Size of gravity; the robot's own compensation keeps to the nominal one."""
    gravity_tilt_rad: Annotated[Distribution, Term("xy", 0.0, -1.6, 1.6)] = _ZERO
    """Tilt of the robot's mounting about the world's x and y axes; its own compensation doesn't know of it."""
    joint_offset_rad: Annotated[Distribution, _OffsetPerJoint] = _ZERO
    """Encoder bias of each joint: reading minus truth, for the policy and for the joint's servo alike."""

    # Readings.
    joint_position_noise_std_rad: Annotated[Distribution, _Size] = _ZERO
    """Noise of each joint position, new in every control step; the tool's pose follows by kinematics."""
    joint_velocity_noise_std_rad_s: Annotated[Distribution, _Size] = _ZERO
    """Noise of each joint velocity, new in every control step."""
    joint_velocity_bias_rad_s: Annotated[Distribution, _OffsetPerJoint] = _ZERO
    """Reading minus truth of each joint velocity."""
    tool_position_noise_std_m: Annotated[Distribution, _Size] = _ZERO
    """Noise of the tool's position, on top of what the joint readings imply."""
    tool_position_bias_m: Annotated[Distribution, _OffsetXyz] = _ZERO
    """Reading minus truth of the tool's position in the world, on top of what the joint readings imply: calibration."""
    tool_orientation_noise_std_rad: Annotated[Distribution, _Size] = _ZERO
    """Noise of the tool's orientation, a rotation vector in the world, on top of what the joint readings imply."""
    tool_orientation_bias_rad: Annotated[Distribution, _OffsetXyz] = _ZERO
    """Error of the tool's orientation, a rotation vector in the world, on top of what the joint readings imply."""
    observation_delay_s: Annotated[Distribution, Term("robot", 0.0, 0.0, 0.5)] = _ZERO
    """Age of the readings when the policy sees them, to the nearest physics step."""
    observation_jitter_s: Annotated[Distribution, Term("robot", 0.0, 0.0, 0.5)] = _ZERO
    """Readings are up to this much older, uniformly, anew in every control step."""
    dropped_reading_probability: Annotated[Distribution, Term("robot", 0.0, 0.0, 0.99)] = _ZERO
    """Chance in each control step that no reading arrives and the policy sees the last one again."""

    # Commands.
    action_delay_s: Annotated[Distribution, Term("robot", 0.0, 0.0, 0.5)] = _ZERO
    """Time from the policy's command to the servo's target, to the nearest physics step."""
    action_jitter_s: Annotated[Distribution, Term("robot", 0.0, 0.0, 0.5)] = _ZERO
    """Commands are up to this much later, uniformly, anew in every control step."""
    actuator_lag_s: Annotated[Distribution, Term("joint", 0.0, 0.0)] = _ZERO
    """Time constant with which each drive follows its target, first order."""
    target_speed_scale: Annotated[Distribution, Term("joint", 1.0, 1e-3)] = _ONE
    """Speed at which each drive's target saturates, as a share of the joint's velocity limit."""

    # Disturbances.
    push_force_n: Annotated[Distribution, _Size] = _ZERO
    """Force on the body that carries the tool, in a random direction, while a push lasts."""
    push_duration_s: Annotated[Distribution, Term("robot", 0.1, 1e-3)] = Fixed(fixed=0.1)
    """Length of a push, at least one control step."""
    push_interval_s: Annotated[Distribution, Term("robot", 2.0, 1e-3)] = Fixed(fixed=2.0)
    """Mean time from the beginning of one push to that of the next."""

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, value: Any) -> Any:
        """A preset's name alone, or under the key `preset` with terms that replace the preset's."""
        if isinstance(value, str):
            return _preset_terms(value)
        if isinstance(value, dict) and "preset" in value:
            terms = {name: term for name, term in value.items() if name != "preset"}
            return _preset_terms(value["preset"]) | terms
        return value

    @model_validator(mode="after")
    def _within_sense(self) -> Self:
        for name, term in TERMS.items():
            distribution = self.distribution(name)
            if isinstance(distribution, Each) and term.per != "joint":
                raise ValueError(
                    f"{name} is drawn for each {term.per}, so it cannot have a distribution for each joint"
                )
            low, high = distribution.support
            if low < term.low or high > term.high:
                raise ValueError(
                    f"{name} reaches from {low:g} to {high:g}, but must stay between {term.low:g} and {term.high:g}"
                )
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """For editors: also a preset's name, or one under the key `preset`."""
        name = {"enum": list(get_args(Preset))}
        schema = handler.resolve_ref_schema(handler(core_schema))
        schema["properties"]["preset"] = name
        return {"anyOf": [name, schema]}

    def distribution(self, name: str) -> Distribution:
        """The distribution of the term `name`."""
        return getattr(self, name)  # type: ignore[no-any-return]

    @property
    def active(self) -> tuple[str, ...]:
        """Names of the terms that are not fixed at the value that changes nothing."""
        return tuple(n for n, term in TERMS.items() if self.distribution(n).support != (term.neutral, term.neutral))


TERMS: dict[str, Term] = {
    name: next(part for part in field.metadata if isinstance(part, Term))
    for name, field in Randomisation.model_fields.items()
}
"""Every term by name, in the order of `Randomisation` and of `sampling.Draws`."""


def _preset_terms(name: Any) -> dict[str, Any]:
    if name not in get_args(Preset):
        raise ValueError(f"unknown preset {name!r}; presets are {', '.join(get_args(Preset))}")
    path = Path(str(resources.files("sim2real"))) / "randomisation" / "presets" / f"{name}.yaml"
    terms: dict[str, Any] = read_yaml(path, what="randomisation") or {}
    return terms


def load_randomisation(name_or_path: str | Path) -> Randomisation:
    """A preset by name, or a YAML file by path; `ShoalError` on anything invalid."""
    if str(name_or_path) in get_args(Preset):
        return Randomisation.model_validate(str(name_or_path))
    path = Path(name_or_path)
    if not path.is_file():
        raise ShoalError(
            f"randomisation: {str(name_or_path)!r} is neither a preset ({', '.join(get_args(Preset))}) nor a file."
        )
    return read_model(Randomisation, path, what="randomisation", may_be_empty=True)


def dump_randomisation(setting: Randomisation) -> str:
    """YAML of the active terms, which `load_randomisation` reads back."""
    from sim2real import strict_yaml  # here, as in `sim2real.files`

    return strict_yaml.dump(setting.model_dump(mode="json", include=set(setting.active)), flow=None)
