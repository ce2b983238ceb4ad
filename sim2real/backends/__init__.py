"""Simulation backends behind one interface: `native` (C MuJoCo on threads) and `mjx` (JAX)."""

from __future__ import annotations

from typing import Any, Literal

from sim2real.backends.base import Environment
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
    privileged: bool = False,
    wild_goal_share: float = 0.0,
    continue_share: float = 0.0,
    wide_start_share: float = 0.0,
    resample: bool = True,
    randomisation: Randomisation | None = None,
    keep_robots: bool = False,
) -> Environment:
    """An environment of `num_envs` robots on the named backend.

    `privileged` observations hold the task's `teacher_readings` as well. `wild_goal_share` of the goals are drawn in
    bounds 1.4 times as wide, without asking whether they can be reached. `continue_share` of the episodes after the
    first begin where the last one ended, as on a robot that is sent one goal after another; `reset` always starts anew.
    `wide_start_share` of the starts lie anywhere in the joint ranges, see
    `sim2real.tasks.goal_pool.mix_in_wide_starts`. Without `resample` every environment repeats its first start and
    goal, as the published code of arXiv 2503.14858 does.

    `randomisation` makes robots, readings and commands differ from the model; None takes what the task declares. An
    environment gets another robot with every new start, or with `keep_robots` the same one for ever, for evaluation.
    """
    setting = task.config.randomisation if randomisation is None else randomisation
    shares: Any = {
        "privileged": privileged,
        "wild_goal_share": wild_goal_share,
        "continue_share": continue_share,
        "wide_start_share": wide_start_share,
        "resample": resample,
        "draws": sample_robots(setting, task, num_envs=num_envs, seed=seed, keep=keep_robots),
        "keep_robots": keep_robots,
    }
    match resolve(backend):
        case "native":
            from sim2real.backends.native import NativeEnvironment

            return NativeEnvironment(task, num_envs=num_envs, seed=seed, **shares)
        case "mjx":
            try:
                from sim2real.backends.mjx import MjxEnvironment
            except ImportError as error:
                raise ShoalError(
                    f"backend: mjx needs the training extra, pip install 'shoal[train]' ({error})."
                ) from error

            return MjxEnvironment(task, num_envs=num_envs, seed=seed, **shares)
