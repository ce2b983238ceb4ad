"""From distributions to numbers: one robot's worth of values in each row, the same for every backend.

    draws = sample(setting, task, count=64, seed=0)
    draws.payload_mass_kg                                  # [64] kg
    one = neutral_draws(task, count=1)._replace(payload_mass_kg=np.array([1.0]))   # exactly one known change

Shapes: `M` robots, `J` joints in policy order, `L` links (`link_ids`).
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

import mujoco
import numpy as np

from sim2real.contract import Contract
from sim2real.errors import ShoalError
from sim2real.randomisation.config import TERMS, Per, Randomisation
from sim2real.tasks.task import Task


class Draws(NamedTuple):
    """Values of every term of `Randomisation`, under the same names; see there for their meaning."""

    friction_scale: np.ndarray
    """`[M]`."""
    link_mass_scale: np.ndarray
    """`[M, L]`."""
    link_inertia_scale: np.ndarray
    """`[M, L]`."""
    link_com_offset_m: np.ndarray
    """`[M, L, 3]`."""
    payload_mass_kg: np.ndarray
    """`[M]`."""
    payload_offset_m: np.ndarray
    """`[M, 3]`."""
    armature_scale: np.ndarray
    """`[M, J]`."""
    damping_scale: np.ndarray
    """`[M, J]`."""
    friction_loss_scale: np.ndarray
    """`[M, J]`."""
    friction_loss_add_nm: np.ndarray
    """`[M, J]`."""
    servo_stiffness_scale: np.ndarray
    """`[M, J]`."""
    servo_damping_scale: np.ndarray
    """`[M, J]`."""
    effort_limit_scale: np.ndarray
    """`[M, J]`."""
    gravity_scale: np.ndarray
    """`[M]`."""
    gravity_tilt_rad: np.ndarray
    """`[M, 2]`, about x and y."""
    joint_offset_rad: np.ndarray
    """`[M, J]`."""
    joint_position_noise_std_rad: np.ndarray
    """`[M]`."""
    joint_velocity_noise_std_rad_s: np.ndarray
    """`[M]`."""
    joint_velocity_bias_rad_s: np.ndarray
    """`[M, J]`."""
    tool_position_noise_std_m: np.ndarray
    """`[M]`."""
    tool_position_bias_m: np.ndarray
    """`[M, 3]`."""
    tool_orientation_noise_std_rad: np.ndarray
    """`[M]`."""
    tool_orientation_bias_rad: np.ndarray
    """`[M, 3]`."""
    observation_delay_s: np.ndarray
    """`[M]`."""
    observation_jitter_s: np.ndarray
    """`[M]`."""
    dropped_reading_probability: np.ndarray
    """`[M]`."""
    action_delay_s: np.ndarray
    """`[M]`."""
    action_jitter_s: np.ndarray
    """`[M]`."""
    actuator_lag_s: np.ndarray
    """`[M, J]`."""
    target_speed_scale: np.ndarray
    """`[M, J]`."""
    push_force_n: np.ndarray
    """`[M]`."""
    push_duration_s: np.ndarray
    """`[M]`."""
    push_interval_s: np.ndarray
    """`[M]`."""

    @property
    def num_robots(self) -> int:
        """The number of robots M."""
        return len(self.friction_scale)

    def changes(self, name: str) -> bool:
        """Whether the term `name` differs from neutral in any row."""
        return bool(np.any(getattr(self, name) != TERMS[name].neutral))

    @property
    def active(self) -> tuple[str, ...]:
        """Names of the terms that differ from neutral in any row."""
        return tuple(name for name in self._fields if self.changes(name))

    def rows(self, index: np.ndarray | slice) -> Draws:
        """Draws of some of the robots."""
        return Draws(*(value[index] for value in self))


def link_ids(model: mujoco.MjModel, contract: Contract) -> list[int]:
    """Body ids of the links: bodies with mass that move with the task's joints, in the model's order."""
    names = [name for joint in contract.robot.joints for name, _ in joint.moves or ((joint.name, 1.0),)]
    jointed = {int(model.joint(name).bodyid[0]) for name in names}

    def moves(body: int) -> bool:
        while body:
            if body in jointed:
                return True
            body = int(model.body_parentid[body])
        return False

    return [body for body in range(model.nbody) if model.body_mass[body] > 0 and moves(body)]


def sample(setting: Randomisation, task: Task, *, count: int, seed: int) -> Draws:
    """`count` robots. Each term has a random stream of its own, so adding one leaves the values of the others alone."""
    shapes = _shapes(task)

    def term(name: str) -> np.ndarray:
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        return setting.distribution(name).sample(rng, (count, *shapes[TERMS[name].per]))

    return Draws(**{name: term(name) for name in TERMS})


def neutral_draws(task: Task, *, count: int) -> Draws:
    """`count` robots as the model describes them; change fields with `_replace`."""
    shapes = _shapes(task)
    return Draws(**{name: np.full((count, *shapes[term.per]), term.neutral) for name, term in TERMS.items()})


def require_draws(draws: Draws, task: Task) -> None:
    """Raise `ShoalError` unless every array has its shape and lies within what makes sense."""
    shapes = _shapes(task)
    for name, term in TERMS.items():
        value, wanted = getattr(draws, name), (draws.num_robots, *shapes[term.per])
        if value.shape != wanted:
            raise ShoalError(f"draws.{name}: shape {value.shape}, but this task needs {wanted}.")
        if not (np.all(value >= term.low) and np.all(value <= term.high)):
            raise ShoalError(
                f"draws.{name}: values from {value.min():g} to {value.max():g} must lie between {term.low:g} and "
                f"{term.high:g}."
            )


def _shapes(task: Task) -> dict[Per, tuple[int, ...]]:
    joints, links = len(task.contract.joint_names), len(link_ids(task.model, task.contract))
    return {"robot": (), "joint": (joints,), "link": (links,), "link_xyz": (links, 3), "xy": (2,), "xyz": (3,)}
