"""Replay in time-major rings on the device, with hindsight goals drawn in closed form.

    buffer = create(capacity=4000, num_envs=64, ...)
    buffer = insert(buffer, rollout)                       # in place when donated
    batch = sample(buffer, key, batch_size=256, gamma=0.99)

Sampling draws (environment, time) uniformly and the offset to the hindsight goal from a geometric
distribution truncated at the episode's end, by inverting its distribution function: O(batch) work, however
large the buffer.

Shapes: `C` capacity in steps per environment, `T` steps of one insert, `N` environments, `B` batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sim2real.backends.base import Rollout

_OPEN = -1
"""`end` of a step whose episode has not ended yet."""
_EARLY = -2
"""`end` is this minus the time where the episode was over before its time."""
_TRIES = 16
_MOVED = 0.01
"""In goal space, m."""


class Replay(NamedTuple):
    """The rings. Times are absolute step counts; step t lives in row t mod C."""

    observation: jax.Array
    """`[C, N, D]`."""
    achieved: jax.Array
    """`[C, N, G]`."""
    action: jax.Array
    """`[C, N, J]`."""
    end: jax.Array
    """`[C, N]` int32: time of the last step of the step's episode, or -1 while it is unknown; -2 minus that time where
    the episode was terminated there, so that more can't come, instead of cut off.
    """
    head: jax.Array
    """int32: time of the next step."""


class Batch(NamedTuple):
    """One batch for the learner."""

    observation: jax.Array
    """`[B, D]`."""
    action: jax.Array
    """`[B, K J]`, of K steps one after the other."""
    goal: jax.Array
    """`[B, G]`, achieved later in the same episode."""
    over: jax.Array | None = None
    """`[B]`, share of the discounted future that is lost because the episode was terminated before its time: gamma^k
    for one k steps ahead. 0 where it was cut off; None where nobody asks for it."""


class Steps(NamedTuple):
    """Steps that were drawn, and a hindsight goal of each; `[S, M]`, M of every one of S runs of environments."""

    env: jax.Array
    """Within its run."""
    time: jax.Array
    end: jax.Array
    """Time of the last step of its episode that is known."""
    terminated: jax.Array
    """Whether the episode was over there before its time."""
    offset: jax.Array
    """Steps from `time` to where the hindsight goal is achieved."""


def create(*, capacity: int, num_envs: int, observation: int, goal: int, action: int) -> Replay:
    """Empty rings for `capacity` steps of each environment."""
    return Replay(
        observation=jnp.zeros((capacity, num_envs, observation)),
        achieved=jnp.zeros((capacity, num_envs, goal)),
        action=jnp.zeros((capacity, num_envs, action)),
        end=jnp.full((capacity, num_envs), _OPEN, jnp.int32),
        head=jnp.zeros((), jnp.int32),
    )


def insert(buffer: Replay, rollout: Rollout) -> Replay:
    """Append T steps, overwriting the oldest; closes the episodes that end in them."""
    capacity, steps = buffer.end.shape[0], rollout.observation.shape[0]
    times = buffer.head + jnp.arange(steps, dtype=jnp.int32)
    rows = times % capacity
    ends = _episode_ends(jnp.asarray(rollout.last), jnp.asarray(rollout.terminated), times)
    open_before = buffer.end == _OPEN
    stored = (jnp.arange(capacity) < buffer.head)[:, None]
    closed = jnp.where(open_before & stored, ends[0], buffer.end)
    return Replay(
        observation=buffer.observation.at[rows].set(rollout.observation),
        achieved=buffer.achieved.at[rows].set(rollout.achieved),
        action=buffer.action.at[rows].set(rollout.action),
        end=closed.at[rows].set(ends),
        head=buffer.head + steps,
    )


def _episode_ends(last: jax.Array, terminated: jax.Array, times: jax.Array) -> jax.Array:
    """Find, for each of `[T, N]` steps, `Replay.end` of the first episode end at or after it."""

    def back(carry: jax.Array, row: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        carry = jnp.where(row[0], row[1], carry)
        return carry, carry

    start = jnp.full(last.shape[1], _OPEN, jnp.int32)
    ends = jnp.where(terminated, _EARLY - times[:, None], times[:, None])
    return jax.lax.scan(back, start, (last, ends), reverse=True)[1]


def sample(
    buffer: Replay,
    key: jax.Array,
    *,
    batch_size: int,
    gamma: float,
    strata: int = 1,
    moving_share: float = 0.0,
    chunk: int = 1,
) -> Batch:
    """B steps as `draw` draws them, with the actions of `chunk` steps and their hindsight goals."""
    steps = draw(buffer, key, batch_size=batch_size, gamma=gamma, strata=strata, moving_share=moving_share)
    goal = take(buffer.achieved, steps.time + steps.offset, steps.env)
    columns = take(buffer.observation, steps.time, steps.env), actions(buffer, steps, chunk), goal
    over = jnp.where(steps.terminated, gamma ** (steps.end - steps.time).astype(jnp.float32), 0.0)
    observation, action, goal = (column.reshape(batch_size, -1) for column in columns)
    return Batch(observation, action, goal, over.reshape(batch_size))


def draw(
    buffer: Replay, key: jax.Array, *, batch_size: int, gamma: float, strata: int = 1, moving_share: float = 0.0
) -> Steps:
    """B steps and an offset k >= 1 to the hindsight goal of each with probability proportional to gamma^k.

    Of `moving_share` of them, sixteen are drawn and the first is kept whose goal lies apart from what was achieved at
    its step: an object rests most of the time, and steps in which nothing happens teach where it is, not what moves it.

    With S `strata`, environments and batch are cut into S equal runs, and each run of the batch is drawn from its own
    run of environments, so that a device that holds one needs nothing from the others. Every environment must hold
    three steps or more, and episodes two or more.
    """
    capacity, num_envs = buffer.end.shape
    rows, tries, local = batch_size // strata, _TRIES if moving_share > 0 else 1, num_envs // strata
    shape = (strata, rows * tries)
    env_key, time_key, offset_key = jax.random.split(key, 3)
    env = jax.random.randint(env_key, shape, 0, local)
    oldest = jnp.maximum(buffer.head - capacity, 0)
    # The newest step has no future and the oldest may be needed as the step before, see below.
    time = jax.random.randint(time_key, shape, oldest + 1, buffer.head - 1)
    known = take(buffer.end, time, env)
    terminated = known <= _EARLY
    end = jnp.where(known == _OPEN, buffer.head - 1, jnp.where(terminated, _EARLY - known, known))
    # The last step of an episode has no future of its own: take the step before it.
    time = jnp.where(end <= time, time - 1, time)
    offset = truncated_geometric(offset_key, jnp.maximum(end - time, 1), gamma=gamma)
    steps = Steps(env, time, end, terminated, offset)
    if tries > 1:
        way = take(buffer.achieved, time + offset, env) - take(buffer.achieved, time, env)
        moves = jnp.linalg.norm(way, axis=-1).reshape(strata, rows, tries) > _MOVED
        chosen = jnp.where(jnp.arange(rows) < round(moving_share * rows), jnp.argmax(moves, axis=-1), 0)
        index = jnp.arange(rows) * tries + chosen
        steps = Steps(*(jnp.take_along_axis(values, index, axis=1) for values in steps))
    return steps


def take(ring: jax.Array, time: jax.Array, env: jax.Array) -> jax.Array:
    """`[C, N, ...]` at times and environments `[S, M, ...]` within S runs of environments, to `[S, M, ..., ...]`."""
    capacity, strata = ring.shape[0], env.shape[0]
    parts = ring.reshape(capacity, strata, -1, *ring.shape[2:])
    pick: Callable[..., jax.Array] = jax.vmap(lambda part, row, env: part[row, env], in_axes=(1, 0, 0))
    return pick(parts, time % capacity, env)


def actions(buffer: Replay, steps: Steps, chunk: int) -> jax.Array:
    """The actions from each step on, `[S, M, K J]`; that of an episode's last step stands for those behind it."""
    if chunk == 1:
        return take(buffer.action, steps.time, steps.env)
    time = jnp.minimum(steps.time[..., None] + jnp.arange(chunk), steps.end[..., None])
    found = take(buffer.action, time, jnp.broadcast_to(steps.env[..., None], time.shape))
    return found.reshape(*steps.time.shape, -1)


def truncated_geometric(key: jax.Array, furthest: jax.Array, *, gamma: float) -> jax.Array:
    """Offsets in 1..furthest with P(k) proportional to gamma^k, int32 of the same shape, by inversion."""
    u = jax.random.uniform(key, furthest.shape)
    mass = 1 - gamma ** furthest.astype(jnp.float32)
    offset = 1 + jnp.floor(jnp.log1p(-u * mass) / jnp.log(gamma)).astype(jnp.int32)
    return jnp.clip(offset, 1, furthest)


def size_bytes(*, capacity: int, num_envs: int, observation: int, goal: int, action: int) -> int:
    """Memory of the rings."""
    return 4 * capacity * num_envs * (observation + goal + action + 1)
