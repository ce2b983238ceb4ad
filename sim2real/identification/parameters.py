"""What can be fitted, between which bounds, and how each value is written into the model.

Optimisation runs in unit coordinates, 0 at the lower bound and 1 at the upper one, so that newton metres, seconds and
kilograms weigh alike and one finite-difference step fits all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args

import mujoco
import numpy as np

from sim2real.contract import Contract
from sim2real.errors import ShoalError
from sim2real.robots.kinematics import Addresses
from sim2real.robots.servos import described_spec

Kind = Literal[
    "damping",
    "friction_loss",
    "armature",
    "servo_stiffness",
    "servo_damping",
    "joint_offset",
    "payload_mass",
    "action_delay",
]
KINDS: tuple[Kind, ...] = get_args(Kind)

Range = tuple[float, float]
Write = Callable[[mujoco.MjSpec, float], None]


@dataclass(frozen=True)
class Bounds:
    """The values between which the fit may look. They count as prior knowledge: the nominal value is thought likelier
    than a value at a bound, which decides nothing where the log says anything.
    """

    damping_scale: Range = (0.0, 5.0)
    """Times the model's; where that has none, up to a tenth of the servo's own damping."""
    friction_loss_scale: Range = (0.0, 5.0)
    """Times the model's; where that has none, up to a tenth of the effort limit."""
    armature_scale: Range = (0.3, 3.0)
    """Times the model's; where that has none, up to the inertia of the joint at home."""
    servo_stiffness_scale: Range = (0.4, 2.0)
    servo_damping_scale: Range = (0.3, 3.0)
    joint_offset_rad: Range = (-0.05, 0.05)
    payload_mass_kg: Range = (0.0, 3.0)
    action_delay_s: Range = (0.0, 0.1)


DEFAULT_BOUNDS = Bounds()


@dataclass(frozen=True)
class Quantity:
    """One number to be fitted."""

    name: str
    """`friction_loss fr3_joint2`, for reports."""
    kind: Kind | Literal["body"]
    unit: str
    nominal: float
    low: float
    high: float
    joint: int = -1
    """Policy order; -1 for what belongs to the whole robot."""

    def value(self, unit_value: float) -> float:
        """The value at unit coordinates."""
        return self.low + unit_value * (self.high - self.low)

    def unit_value(self, value: float) -> float:
        """Unit coordinates of a value."""
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Problem:
    """The quantities, and the parameters of `mujoco.sysid` that write them into a spec."""

    contract: Contract
    spec: mujoco.MjSpec
    quantities: tuple[Quantity, ...]
    parameters: Any
    """`mujoco.sysid.ParameterDict`, in unit coordinates; one vector entry for each quantity, in order."""

    def columns(self, kind: Kind) -> np.ndarray:
        """Where the quantities of a kind are in the vector."""
        return np.array([i for i, q in enumerate(self.quantities) if q.kind == kind], int)

    def models(self, units: np.ndarray) -> list[mujoco.MjModel]:
        """One model for each column of `units` `[P, N]`."""
        sysid = require_sysid()
        models = []
        for column in units.T:
            self.parameters.update_from_vector(column)
            models.append(sysid.apply_param_modifiers(self.parameters, self.spec))
        return models

    def delays_s(self, units: np.ndarray) -> np.ndarray:
        """Delays `[N]` of the columns of `units` `[P, N]`."""
        return np.asarray(self._values("action_delay", units).sum(axis=0))

    def offsets_rad(self, units: np.ndarray) -> np.ndarray:
        """Offsets `[N, J]` of the columns of `units` `[P, N]`."""
        offsets = np.zeros((units.shape[1], len(self.contract.joint_names)))
        joints = [self.quantities[column].joint for column in self.columns("joint_offset")]
        offsets[:, joints] = self._values("joint_offset", units).T
        return offsets

    def _values(self, kind: Kind, units: np.ndarray) -> np.ndarray:
        which = self.columns(kind)
        quantities = [self.quantities[i] for i in which]
        low, high = (np.array([getattr(q, end) for q in quantities])[:, None] for end in ("low", "high"))
        return np.asarray(low + units[which] * (high - low))


def require_sysid() -> Any:
    """`mujoco.sysid`, or one sentence."""
    try:
        sysid = import_module("mujoco.sysid")
        sysid.ParameterDict  # noqa: B018  # Without its dependencies the package can be imported, but is empty.
        return sysid
    except (ImportError, AttributeError) as error:
        raise ShoalError("identify needs mujoco.sysid and SciPy: pip install 'shoal[analysis]'.") from error


def make_problem(
    mjcf: str, contract: Contract, kinds: Sequence[Kind], *, bounds: Bounds = DEFAULT_BOUNDS, bodies: Sequence[str] = ()
) -> Problem:
    """Quantities of the given kinds, for every joint where they belong to joints (not for tendons); pseudo-inertias of
    `bodies`.
    """
    sysid = require_sysid()
    spec = described_spec(Path(mjcf), contract.robot, contract.map)
    spec.option.timestep = contract.timing.physics_dt_s
    model = spec.compile()
    unknown = set(kinds) - set(KINDS)
    if unknown or not (kinds or bodies):
        raise ShoalError(f"--fit: {', '.join(sorted(unknown)) or 'nothing'} cannot be fitted; use {', '.join(KINDS)}.")
    quantities, parameters = [], sysid.ParameterDict()
    for kind in dict.fromkeys(kinds):
        for quantity, write in _of_kind(kind, model, contract, bounds):
            quantities.append(quantity)
            parameters.add(_unit_parameter(sysid, quantity, write))
    for name in bodies:
        own = _body_parameter(sysid, spec, model, name)
        entries = _body_quantities(own, name)
        quantities += entries
        parameters.add(_unit_body(sysid, entries, name))
    if "payload_mass" in kinds:
        body = spec.body(model.body(Addresses.of(model, contract.robot).body).name)
        site = spec.site(contract.robot.end_effector_frame)
        # Without ipos MuJoCo puts the centre of mass another site.pos further out.
        body.add_body(
            name=_PAYLOAD, pos=site.pos, explicitinertial=True, mass=_TINY_KG, ipos=[0.0] * 3, inertia=[_TINY_KG] * 3
        )
    return Problem(contract, spec, tuple(quantities), parameters)


_PAYLOAD, _TINY_KG = "shoal_payload", 1e-9


def _of_kind(
    kind: Kind, model: mujoco.MjModel, contract: Contract, bounds: Bounds
) -> list[tuple[Quantity, Write | None]]:
    match kind:
        case "payload_mass":
            whole = Quantity("payload_mass", kind, "kg", max(0.0, bounds.payload_mass_kg[0]), *bounds.payload_mass_kg)
            return [(whole, _write_payload)]
        case "action_delay":
            low, high = bounds.action_delay_s
            return [(Quantity("action_delay", kind, "s", low + 0.1 * (high - low), low, high), None)]
    own = [index for index, joint in enumerate(contract.robot.joints) if joint.kind != "tendon"]
    return [_of_joint(kind, model, contract, joint, bounds) for joint in own]


def _of_joint(
    kind: Kind, model: mujoco.MjModel, contract: Contract, joint: int, bounds: Bounds
) -> tuple[Quantity, Write | None]:
    addresses, limits = Addresses.of(model, contract.robot), contract.robot.joints[joint]
    dof, actuator = addresses.dof[joint], addresses.actuator[joint]
    name = limits.name

    def scaled(unit: str, nominal: float, scale: Range, otherwise: float = 0.0) -> Quantity:
        low, high = (scale[0] * nominal, scale[1] * nominal) if nominal > 0 else (0.0, otherwise)
        return Quantity(f"{kind} {name}", kind, unit, float(nominal), float(low), float(high), joint)

    def on_joint(field: str) -> Write:
        return lambda spec, value: setattr(spec.joint(name), field, value)

    match kind:
        case "damping":
            quantity = scaled("N m s/rad", model.dof_damping[dof], bounds.damping_scale, 0.1 * limits.damping)
            return quantity, _write_damping(name)
        case "friction_loss":
            quantity = scaled("N m", model.dof_frictionloss[dof], bounds.friction_loss_scale, 0.1 * limits.effort_max)
            return quantity, on_joint("frictionloss")
        case "armature":
            quantity = scaled("kg m^2", model.dof_armature[dof], bounds.armature_scale, float(model.dof_M0[dof]))
            return quantity, on_joint("armature")
        case "servo_stiffness":
            quantity = scaled("N m/rad", limits.stiffness, bounds.servo_stiffness_scale)
            return quantity, _write_gains(model, int(actuator), (0, 1), limits.stiffness)
        case "servo_damping":
            if limits.damping == 0:
                raise ShoalError(f"--fit: the servo of {name!r} has no damping (kv) that could be fitted; fit damping.")
            quantity = scaled("N m s/rad", limits.damping, bounds.servo_damping_scale)
            return quantity, _write_gains(model, int(actuator), (2,), limits.damping)
        case _:
            return Quantity(f"{kind} {name}", kind, "rad", 0.0, *bounds.joint_offset_rad, joint), None


def _write_gains(model: mujoco.MjModel, actuator: int, which: tuple[int, ...], nominal: float) -> Write:
    """Scales gain (0) and bias terms (1, 2) so that the joint has another stiffness or damping, whatever the gear."""
    gain, bias = model.actuator_gainprm[actuator].copy(), model.actuator_biasprm[actuator].copy()

    def write(spec: mujoco.MjSpec, value: float) -> None:
        servo = spec.actuators[actuator]
        for index in which:
            if index == 0:
                servo.gainprm[0] = gain[0] * value / nominal
            else:
                servo.biasprm[index] = bias[index] * value / nominal

    return write


def _write_damping(joint: str) -> Write:
    def write(spec: mujoco.MjSpec, value: float) -> None:
        # The first coefficient of a polynomial in speed is the viscous one.
        spec.joint(joint).damping[0] = value

    return write


def _write_payload(spec: mujoco.MjSpec, value: float) -> None:
    spec.body(_PAYLOAD).mass = max(value, _TINY_KG)


def _unit_parameter(sysid: Any, quantity: Quantity, write: Write | None) -> Any:
    def modifier(spec: mujoco.MjSpec, parameter: Any) -> None:
        if write is not None:
            write(spec, quantity.value(float(parameter.value[0])))

    return sysid.Parameter(quantity.name, quantity.unit_value(quantity.nominal), 0.0, 1.0, modifier=modifier)


def _body_parameter(sysid: Any, spec: mujoco.MjSpec, model: mujoco.MjModel, name: str) -> Any:
    """The ten numbers of a pseudo-inertia, which stay physical whatever they are (Rucker and Wensing 2022)."""
    if not any(model.body(i).name == name and model.body_mass[i] > 0 for i in range(model.nbody)):
        raise ShoalError(f"--bodies: the MJCF has no body {name!r} with a mass.")
    return sysid.body_inertia_param(
        spec,
        model,
        name,
        inertia_type=sysid.InertiaType.Pseudo,
        mass_bound_mult=np.array([0.3, 3.0]),
        ipos_bound_off=np.array([-0.1, 0.1]),
    )


_THETA = ("log mass / 2", "log stretch x", "log stretch y", "log stretch z", "shear xy", "shear yz", "shear xz")


def _body_quantities(own: Any, body: str) -> list[Quantity]:
    low, high = own.get_bounds()
    names = [*_THETA, "com x", "com y", "com z"]
    return [
        Quantity(f"{body} {name}", "body", "m" if name.startswith("com") else "", float(nominal), float(a), float(b))
        for name, nominal, a, b in zip(names, own.as_nominal_vector(), low, high, strict=True)
    ]


def _unit_body(sysid: Any, entries: Sequence[Quantity], name: str) -> Any:
    def modifier(spec: mujoco.MjSpec, parameter: Any) -> None:
        theta = [entry.value(float(x)) for entry, x in zip(entries, parameter.value, strict=True)]
        _write_inertia(spec.body(name), sysid.model_modifier.pi_from_theta(np.array(theta)))

    nominal = [entry.unit_value(entry.nominal) for entry in entries]
    return sysid.Parameter(name, nominal, np.zeros(len(entries)), np.ones(len(entries)), modifier=modifier)


def _write_inertia(body: Any, pi: np.ndarray) -> None:
    """Mass, first moment and inertia about the body's origin `[13]` into a spec's body, by its principal axes.

    (`mujoco.sysid` writes the full matrix instead, which does not compile over a diagonal one.)
    """
    mass, place = pi[0], pi[1:4] / pi[0]
    about_origin = pi[4:].reshape(3, 3)
    about_centre = about_origin - mass * (place @ place * np.eye(3) - np.outer(place, place))
    principal, axes = np.linalg.eigh(about_centre)
    axes[:, 0] *= np.sign(np.linalg.det(axes))
    orientation = np.zeros(4)
    mujoco.mju_mat2Quat(orientation, axes.ravel())
    body.explicitinertial, body.mass, body.ipos = True, mass, place
    body.inertia, body.iquat = principal, orientation
