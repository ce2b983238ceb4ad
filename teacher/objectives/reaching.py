"""When a goal is first reached from a step on, found in the replay: O(batch x window), a window being the steps ahead
that are looked at.

    step      t   t+1  t+2  t+3  t+4 | t+5 ...          window W = 8
    distance  .9   .7   .3   .2   .6 |                  radius .3: reached at time 2, whatever comes later
    never within the radius, episode cut off at t+4:    not reached in 4 observed steps, unknown afterwards
    the same, but terminated at t+4:                    not reached in W observed steps; a fallen robot gets nowhere

Shapes: `S` runs of environments, `M` steps of each, `B` = S M, `W` window, `G` goal-vector size.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from teacher import replay

_FLOATS_AT_ONCE = 2**24


class Reaching(NamedTuple):
    """What became of each step's goal."""

    time: jax.Array
    """`[B]` int32, steps until the goal was first within the radius; W + 1 where it was not."""
    reached: jax.Array
    """`[B]` bool."""
    observed: jax.Array
    """`[B]` int32, steps in which it is known whether it was reached, at most W."""


class ReachBatch(NamedTuple):
    """A batch with the times at which its goals were reached."""

    observation: jax.Array
    """`[B, D]`."""
    action: jax.Array
    """`[B, K J]`."""
    goal: jax.Array
    """`[B, G]`."""
    reaching: Reaching
    distance: jax.Array
    """`[B, W + 1]`, of what was achieved to the goal in this step and in W more, infinite behind the episode's end."""
    terminated: jax.Array
    """`[B]` bool, whether the episode was over before its time."""


def sample(
    buffer: replay.Replay,
    key: jax.Array,
    *,
    batch_size: int,
    gamma: float,
    window: int,
    radius: float,
    own_goal_share: float,
    other_goal_share: float,
    strata: int = 1,
    moving_share: float = 0.0,
    chunk: int = 1,
) -> ReachBatch:
    """B steps as `replay.draw` draws them, of which a share gets what it has achieved already as its goal, and another
    share the goal of another step.
    """
    draw_key, goal_key = jax.random.split(key)
    steps = replay.draw(buffer, draw_key, batch_size=batch_size, gamma=gamma, strata=strata, moving_share=moving_share)
    own = replay.take(buffer.achieved, steps.time, steps.env)
    goal = replay.take(buffer.achieved, steps.time + steps.offset, steps.env)
    which = jax.random.uniform(goal_key, steps.time.shape)[..., None]
    other = jnp.where(which < own_goal_share + other_goal_share, jnp.roll(goal, 1, axis=1), goal)
    goal = jnp.where(which < own_goal_share, own, other)
    distance = distances(buffer, steps, goal, window)
    observation, action = replay.take(buffer.observation, steps.time, steps.env), replay.actions(buffer, steps, chunk)
    distance, terminated = distance.reshape(batch_size, -1), steps.terminated.reshape(-1)
    found = first_reached(distance, (steps.end - steps.time).reshape(-1), terminated, radius)
    observation, action, goal = (column.reshape(batch_size, -1) for column in (observation, action, goal))
    return ReachBatch(observation, action, goal, found, distance, terminated)


def distances(buffer: replay.Replay, steps: replay.Steps, goal: jax.Array, window: int) -> jax.Array:
    """Distances of what is achieved in each step and in W more to its goal `[S, M, G]`, `[S, M, W + 1]`; infinite
    behind the end of its episode. Large windows are gone through in pieces.
    """
    strata, rows, size = goal.shape
    at_once = max(1, _FLOATS_AT_ONCE // (strata * (window + 1) * size))
    pieces = next(n for n in range(1, rows + 1) if rows % n == 0 and rows // n <= at_once)

    def cut(x: jax.Array) -> jax.Array:
        return jnp.moveaxis(x.reshape(strata, pieces, rows // pieces, *x.shape[2:]), 1, 0)

    def one(part: tuple[jax.Array, ...]) -> jax.Array:
        time, env, end, goal = part
        time = time[..., None] + jnp.arange(window + 1)
        way = replay.take(buffer.achieved, time, jnp.broadcast_to(env[..., None], time.shape)) - goal[..., None, :]
        return jnp.where(time <= end[..., None], jnp.linalg.norm(way, axis=-1), jnp.inf)

    found = jax.lax.map(one, tuple(cut(x) for x in (steps.time, steps.env, steps.end, goal)))
    return jnp.moveaxis(found, 0, 1).reshape(strata, rows, window + 1)


def first_reached(distance: jax.Array, left: jax.Array, terminated: jax.Array, radius: float) -> Reaching:
    """Work out, from distances `[B, W + 1]`, the steps `[B]` that the episode goes on, and whether it is over early
    then.
    """
    within = distance <= radius
    window, reached = distance.shape[-1] - 1, within.any(axis=-1)
    time = jnp.where(reached, jnp.argmax(within, axis=-1), window + 1).astype(jnp.int32)
    observed = jnp.where(terminated, window, jnp.minimum(left, window)).astype(jnp.int32)
    return Reaching(time, reached, observed)
