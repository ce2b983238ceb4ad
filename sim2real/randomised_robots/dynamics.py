"""From numbers to models: what many different robots have in common, and the fields in which they differ.

    dynamics = make_dynamics(task, draws)
    dynamics.model                       # one model that stands for all of them
    dynamics.fields["dof_armature"]      # [M, nv], for `Batch.expand` or a vmapped MJX model
    dynamics.robot(3)                    # the fourth robot alone, as a plain MjModel

The task's own model and its digest stay as they are. Two terms need bodies that the model doesn't have. A payload is a
body without gravity compensation at the tool's site, or at the base of a robot without a tool. And where centres of
mass move, each link's mass goes to a body welded to it, while the link keeps a millionth, so that `gravcomp` goes on
lifting the *nominal* mass at its *nominal* centre: a robot compensates the weight that its maker believes in, not the
one that it has.

Gravity that the robot's compensation doesn't know of is an external force, mass times the change of gravity, because
MuJoCo's `gravcomp` would follow a changed `opt.gravity`.

Shapes: `M` robots, `J` joints, `L` links, `nbody`, `nv`, `nu` as in MuJoCo.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import mujoco
import mujoco.batch
import numpy as np

from sim2real.randomised_robots.sampling import Draws, link_ids, require_draws
from sim2real.robots.kinematics import Addresses
from sim2real.tasks.task import Task

_GHOST = 1e-6
"""Share of its mass that a link keeps when the rest moves to a body of its own."""
_FRICTION_FLOOR_NM = 1e-9
"""MJX makes friction constraints only for joints that have some friction when the model is put on the device."""
_DERIVED = (
    "body_subtreemass",
    "body_invweight0",
    "dof_invweight0",
    "dof_M0",
    "actuator_acc0",
    "tendon_invweight0",
)
"""What `mj_setConst` computes from masses and armatures, and what MJX does not."""


@dataclass(frozen=True)
class Dynamics:
    """One model for many robots. Never change it: the backends share it."""

    model: mujoco.MjModel
    fields: dict[str, np.ndarray]
    """Model fields in which the robots differ, `[M, ...]` by name."""
    gravity_error_m_s2: np.ndarray | None
    """Gravity minus what the robot's compensation assumes, `[M, 3]` in the world; None where there is no error."""

    def robot(self, index: int) -> mujoco.MjModel:
        """The robot in row `index` alone. Its gravity error, if any, is `external_force(index)`."""
        model = copy.copy(self.model)
        for name, values in self.fields.items():
            getattr(model, name)[...] = values[index]
        return model

    def external_force(self, index: np.ndarray | int) -> np.ndarray:
        """`xfrc_applied` that stands for the gravity error, `[..., nbody, 6]` for rows `[...]`."""
        index = np.asarray(index)
        force = np.zeros((*index.shape, self.model.nbody, 6))
        if self.gravity_error_m_s2 is not None:
            mass = self.fields["body_mass"][index] if "body_mass" in self.fields else self.model.body_mass
            force[..., :3] = mass[..., None] * self.gravity_error_m_s2[index][..., None, :]
        return force


def make_dynamics(task: Task, draws: Draws) -> Dynamics:
    """The model and the differing fields for all rows of `draws`. `ShoalError` where shapes or values are wrong."""
    require_draws(draws, task)
    model, carriers, payload = _common_model(task, draws)
    fields = _Fields(model, draws.num_robots)
    _set_bodies(fields, task, draws, carriers, payload)
    _set_joints(fields, Addresses.of(model, task.contract.robot), draws)
    if draws.changes("friction_scale"):
        scale = draws.friction_scale[:, None]
        fields["geom_friction"][..., 0] *= scale
        if model.npair:
            fields["pair_friction"][..., :2] *= scale[..., None]
    return Dynamics(model, _with_derived(model, dict(fields), draws.num_robots), _gravity_error(model, draws))


class _Fields(dict[str, np.ndarray]):
    """Model fields by name, copied to `[M, ...]` when first asked for."""

    def __init__(self, model: mujoco.MjModel, count: int) -> None:
        super().__init__()
        self._model, self._count = model, count

    def __missing__(self, name: str) -> np.ndarray:
        self[name] = np.repeat(getattr(self._model, name)[None], self._count, axis=0)
        return self[name]


def _common_model(task: Task, draws: Draws) -> tuple[mujoco.MjModel, list[int], int | None]:
    """The model, the bodies that carry the links' masses `[L]`, and the payload's body."""
    nominal, links = task.model, link_ids(task.model, task.contract)
    split, loaded = draws.changes("link_com_offset_m"), draws.changes("payload_mass_kg")
    carriers, payload = links, None
    if split or loaded:
        spec = task.spec()
        spec.option.timestep = nominal.opt.timestep
        spec.compile()
        by_id = {body.id: body for body in spec.bodies}
        addresses = Addresses.of(nominal, task.contract.robot)
        moved = [_split(by_id[link], nominal, link) for link in links] if split else [by_id[link] for link in links]
        added = _add_body(by_id[addresses.body], "shoal_payload") if loaded else None
        if added is not None and addresses.site is not None:
            added.pos, added.quat = nominal.site_pos[addresses.site], nominal.site_quat[addresses.site]
        model = spec.compile()
        carriers, payload = [body.id for body in moved], None if added is None else added.id
    else:
        model = copy.copy(nominal)
    if draws.changes("friction_loss_add_nm"):
        dof = Addresses.of(model, task.contract.robot).dof
        model.dof_frictionloss[dof] = np.maximum(model.dof_frictionloss[dof], _FRICTION_FLOOR_NM)
    return model, carriers, payload


def _split(link: mujoco.MjsBody, nominal: mujoco.MjModel, index: int) -> mujoco.MjsBody:
    """Move a link's mass to a new body welded to it; the link keeps a ghost that lifts the nominal weight."""
    mass, place, turn, inertia = (
        getattr(nominal, f"body_{name}")[index].copy() for name in ("mass", "ipos", "iquat", "inertia")
    )
    carrier = _add_body(link, f"shoal_mass_{index}")
    carrier.mass, carrier.ipos, carrier.iquat, carrier.inertia = mass, carrier.ipos + place, turn, inertia
    link.explicitinertial, link.gravcomp = True, nominal.body_gravcomp[index] / _GHOST
    link.mass, link.ipos, link.iquat, link.inertia = _GHOST * mass, place, turn, _GHOST * inertia
    link.fullinertia = np.full(6, np.nan)
    return carrier


def _add_body(parent: mujoco.MjsBody, name: str) -> mujoco.MjsBody:
    body = parent.add_body(name=name)
    body.explicitinertial, body.mass, body.inertia = True, 0.0, np.zeros(3)
    # MuJoCo compiles a centre of mass at the body's origin to a shortcut that ignores later changes of body_ipos.
    body.ipos = np.full(3, 1e-3)
    return body


def _set_bodies(fields: _Fields, task: Task, draws: Draws, carriers: list[int], payload: int | None) -> None:
    nominal, links = task.model, link_ids(task.model, task.contract)
    moved = draws.changes("link_com_offset_m")
    if draws.changes("link_mass_scale"):
        fields["body_mass"][:, carriers] *= draws.link_mass_scale
        fields["body_inertia"][:, carriers] *= draws.link_mass_scale[..., None]
        if not moved and nominal.body_gravcomp[links].any():
            fields["body_gravcomp"][:, carriers] /= draws.link_mass_scale
    if draws.changes("link_inertia_scale"):
        fields["body_inertia"][:, carriers] *= draws.link_inertia_scale[..., None]
    if moved:
        fields["body_ipos"][:, carriers] = nominal.body_ipos[links] + draws.link_com_offset_m
    if payload is not None:
        fields["body_mass"][:, payload] = draws.payload_mass_kg
        fields["body_ipos"][:, payload] = draws.payload_offset_m


def _set_joints(fields: _Fields, addresses: Addresses, draws: Draws) -> None:
    servo = addresses.actuator
    dof = np.concatenate([c.dof for c in addresses.coordinates])
    of = np.repeat(np.arange(len(servo)), [len(c.dof) for c in addresses.coordinates])
    for name in ("armature", "damping"):
        if draws.changes(f"{name}_scale"):
            fields[f"dof_{name}"][:, dof] *= getattr(draws, f"{name}_scale")[:, of]
    if draws.changes("friction_loss_scale"):
        fields["dof_frictionloss"][:, dof] *= draws.friction_loss_scale[:, of]
    if draws.changes("friction_loss_add_nm"):
        fields["dof_frictionloss"][:, dof] += draws.friction_loss_add_nm[:, of]
    if draws.changes("servo_stiffness_scale"):
        fields["actuator_gainprm"][:, servo, 0] *= draws.servo_stiffness_scale
        fields["actuator_biasprm"][:, servo, 1] *= draws.servo_stiffness_scale
    if draws.changes("servo_damping_scale"):
        fields["actuator_biasprm"][:, servo, 2] *= draws.servo_damping_scale
    if draws.changes("effort_limit_scale"):
        fields["actuator_forcerange"][:, servo] *= draws.effort_limit_scale[..., None]


def _with_derived(model: mujoco.MjModel, fields: dict[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
    """Add the constants that follow from the fields, computed by C MuJoCo for both backends."""
    if not set(fields) & set(mujoco.MjModel._setconst_inputs):
        return fields
    batch = mujoco.batch.Batch(model, nsim=count)
    for name, values in fields.items():
        batch.expand(name)[...] = values
    batch.set_const()
    derived = {name: batch.expand(name).copy() for name in _DERIVED if getattr(model, name).size}
    return fields | derived


def _gravity_error(model: mujoco.MjModel, draws: Draws) -> np.ndarray | None:
    if not (draws.changes("gravity_scale") or draws.changes("gravity_tilt_rad")):
        return None
    gravity = np.broadcast_to(model.opt.gravity, (draws.num_robots, 3))
    (sin_x, sin_y), (cos_x, cos_y) = np.sin(draws.gravity_tilt_rad).T, np.cos(draws.gravity_tilt_rad).T
    x, y, z = gravity.T
    # The mounting turns about x, then y; seen from the robot, gravity turns the other way.
    x, z = cos_y * x - sin_y * z, sin_y * x + cos_y * z
    y, z = cos_x * y + sin_x * z, cos_x * z - sin_x * y
    return np.asarray(draws.gravity_scale[:, None] * np.stack([x, y, z], axis=-1) - gravity)
