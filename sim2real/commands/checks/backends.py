"""What each simulation backend makes of a task's model, and how fast it is on this machine."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from rich.console import Console

from sim2real.contract.interface import action_size
from sim2real.tasks.goal_pool import GoalPool
from sim2real.tasks.task import Task

_NATIVE_ENVS, _MJX_ENVS, _MJX_STEPS = 16, 64, 5
_MEASURED_S = 1.0


def backends(task: Task, pool: GoalPool | None, out: Console, *, mjx: bool, seed: int) -> list[str]:
    """Say what native and MJX can do, element by element, and their speed; the problems where MJX is wanted and cannot.

    MJX's speed takes a compilation of many seconds, so only `mjx` asks for it. Without a pool nothing can be run.
    """
    out.print(f"backend native: simulates everything that MuJoCo does{_told(_native_speed(task, pool, seed))}")
    try:
        from sim2real.backends.mjx import MjxEnvironment, put_model
        from sim2real.backends.mjx_support import mjx_refusals
    except ImportError:
        out.print("backend mjx: not installed (pip install 'shoal[train]')")
        return ["backend mjx: not installed; pip install 'shoal[train]'"] if mjx else []
    refusals = mjx_refusals(task.model)
    for refusal in refusals:
        out.print(f"backend mjx: {refusal}", soft_wrap=True)
    if refusals:
        return [f"backend mjx: {refusal}" for refusal in refusals] if mjx else []
    print(f"backend mjx: preparing the model ({task.model.nmesh} meshes) ...", flush=True)
    began = time.monotonic()
    put_model(task.model)
    prepared_s, speed = time.monotonic() - began, None
    if mjx and pool is not None:
        speed = _mjx_speed(MjxEnvironment(task, num_envs=_MJX_ENVS, seed=seed, pool=pool))
    more = _told(speed) or " (--mjx measures its speed)"
    out.print(f"backend mjx: simulates this model, prepared in {prepared_s:.1f} s{more}")
    return []


def _native_speed(task: Task, pool: GoalPool | None, seed: int) -> tuple[int, float] | None:
    """Environments, and physics steps a second of all of them together under random actions."""
    if pool is None:
        return None
    from sim2real.backends.native import NativeEnvironment

    env = NativeEnvironment(task, num_envs=_NATIVE_ENVS, seed=seed, pool=pool)
    rng, size = np.random.default_rng(seed), (_NATIVE_ENVS, action_size(task.contract))
    steps, began = 0, time.monotonic()
    while (passed_s := time.monotonic() - began) < _MEASURED_S or not steps:
        env.rollout_with(lambda observation, goal: rng.uniform(-1, 1, size).astype(np.float32), 5)
        steps += 5
    return _NATIVE_ENVS, steps * task.contract.timing.substeps * _NATIVE_ENVS / passed_s


def _mjx_speed(env: Any) -> tuple[int, float]:
    """Likewise of MJX, after its program is compiled."""
    import jax
    import jax.numpy as jnp

    size = action_size(env.contract)

    def act(params: Any, observation: Any, goal: Any, key: Any) -> Any:
        return jax.random.uniform(key, (*observation.shape[:-1], size), jnp.float32, -1.0, 1.0)

    np.asarray(env.rollout(act, (), jax.random.key(0), _MJX_STEPS).last)
    began = time.monotonic()
    np.asarray(env.rollout(act, (), jax.random.key(1), _MJX_STEPS).last)
    passed_s = time.monotonic() - began
    return env.num_envs, _MJX_STEPS * env.contract.timing.substeps * env.num_envs / passed_s


def _told(speed: tuple[int, float] | None) -> str:
    return "" if speed is None else f", {float(f'{speed[1]:.2g}'):,.0f} physics steps/s with {speed[0]} environments"
