"""Simulation backends behind one interface: `native` (C MuJoCo on threads) and `mjx` (JAX)."""

from __future__ import annotations

from typing import Literal, Unpack

from sim2real.backends.base import Environment, Settings
from sim2real.errors import ShoalError
from sim2real.randomisation.config import Randomisation
from sim2real.randomised_robots.robots import sample_robots
from sim2real.tasks.task import Task

BackendName = Literal["auto", "native", "mjx"]


def resolve(backend: BackendName) -> Literal["native", "mjx"]:
    """`auto` is mjx where JAX sees a GPU or TPU, native otherwise."""
    if backend != "auto":
        return backend
    import jax

    return "native" if jax.default_backend() == "cpu" else "mjx"


def make_environment(
    task: Task,
    backend: BackendName,
    *,
    num_envs: int,
    seed: int,
    randomisation: Randomisation | None = None,
    **settings: Unpack[Settings],
) -> Environment:
    """An environment of `num_envs` robots on the named backend.

    `randomisation` makes robots, readings and commands differ from the model; None takes what the task declares.
    """
    setting = task.config.randomisation if randomisation is None else randomisation
    draws = sample_robots(setting, task, num_envs=num_envs, seed=seed, keep=settings.get("keep_robots", False))
    match resolve(backend):
        case "native":
            from sim2real.backends.native import NativeEnvironment

            return NativeEnvironment(task, num_envs=num_envs, seed=seed, draws=draws, **settings)
        case "mjx":
            try:
                from sim2real.backends.mjx import MjxEnvironment
            except ImportError as error:
                raise ShoalError(
                    f"backend: mjx needs the training extra, pip install 'shoal[train]' ({error})."
                ) from error

            return MjxEnvironment(task, num_envs=num_envs, seed=seed, draws=draws, **settings)
