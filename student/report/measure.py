"""What the report shows, measured on held-out goals that teacher and student both attempt from the same starts.

Shapes: `T` control steps, `N` episodes, `B` states.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sim2real.backends.base import Rollout
from sim2real.backends.native import NativeEnvironment
from sim2real.contract.interface import policy_inputs
from sim2real.evaluation.success import EpisodeErrors, episode_errors
from student.history import as_teacher, remembering, truth
from student.network import StudentPolicy, layers
from student.policy import greedy, student_inputs
from teacher.networks import streams
from teacher.policies import greedy as teacher_greedy
from teacher.trained import Teacher

SEED = 8_000_003
_STATES = 1024
_SHOWN_BLOCKS = 16


@dataclass(frozen=True)
class Measured:
    """Everything on the page."""

    request: np.ndarray
    """`[N, K]`, requests; those of places begin with a position in m."""
    teacher: EpisodeErrors
    student: EpisodeErrors
    action_error: np.ndarray
    """`[T]`, mean absolute difference between the teacher's and the student's actions on the student's states."""
    similarity: np.ndarray
    """`[student layers, teacher blocks]`, linear CKA."""
    blocks: list[int]
    """Which of the teacher's blocks, counted from 1."""
    direct: EpisodeErrors | None = None
    """Of a policy that was trained without a teacher, where there is one to compare with."""


def measure(
    teacher: Teacher, policy: StudentPolicy, params: Any, *, episodes: int, direct: Teacher | None = None
) -> Measured:
    """Roll all of them out and compare."""
    contract, steps = teacher.contract, teacher.contract.timing.episode_steps

    def episode(apply: Any, params: Any, history_steps: int = 0) -> tuple[Rollout, np.ndarray]:
        env = NativeEnvironment(teacher.task, num_envs=episodes, seed=SEED)
        goals = env.goals().copy()
        return remembering(env, history_steps).rollout(apply, params, jax.random.key(0), steps), goals

    memory = policy.config.history_steps

    def trained(run: Teacher) -> tuple[Rollout, np.ndarray]:
        return episode(as_teacher(contract, 0, teacher_greedy(run.networks)), run.actor)

    by_teacher, goals = trained(teacher)
    by_student, _ = episode(greedy(contract, policy), params, memory)
    observed, goal = (jnp.asarray(x).reshape(-1, x.shape[-1]) for x in (by_student.observation, by_student.goal))
    present = truth(contract, memory, observed)
    wanted = np.tanh(
        jax.jit(teacher.networks.act)(teacher.actor, present, goal)[0][:, : teacher.networks.joints]
    ).reshape(by_student.action.shape)
    chosen = np.random.default_rng(0).choice(len(observed), min(_STATES, len(observed)), replace=False)
    deep = streams(
        teacher.networks.actor,
        teacher.actor,
        policy_inputs(jnp, teacher.networks.contract, present[chosen], goal[chosen]),
    )
    shallow = layers(policy, params, student_inputs(contract, policy.config, observed[chosen], goal[chosen]))
    blocks = sorted({round(float(b)) for b in np.linspace(0, len(deep) - 1, _SHOWN_BLOCKS)})
    similarity = [[linear_cka(layer, deep[block]) for block in blocks] for layer in shallow]
    return Measured(
        goals,
        episode_errors(contract, by_teacher),
        episode_errors(contract, by_student),
        np.abs(wanted - np.asarray(by_student.action)).mean(axis=(1, 2)),
        np.array(similarity),
        [block + 1 for block in blocks],
        None if direct is None else episode_errors(contract, trained(direct)[0]),
    )


def linear_cka(left: Any, right: Any) -> float:
    """Similarity of two representations `[B, F1]`, `[B, F2]`, 0 to 1, blind to rotation and scale (Kornblith et al.
    2019, arXiv 1905.00414, equation 3 with centred linear kernels).
    """
    x, y = (np.asarray(z, np.float64) - np.asarray(z, np.float64).mean(0) for z in (left, right))
    shared = float(np.linalg.norm(x.T @ y)) ** 2
    alone = float(np.linalg.norm(x.T @ x)) * float(np.linalg.norm(y.T @ y))
    return shared / max(alone, 1e-30)


def regions(
    goal: np.ndarray, reached: np.ndarray, axes: tuple[int, int], low: np.ndarray, high: np.ndarray, bins: int
) -> np.ndarray:
    """Share of goals reached in each cell of the goal box seen along two axes, `[bins, bins]`; NaN without goals."""
    edges: Any = [np.linspace(low[axis], high[axis], bins + 1) for axis in axes]
    columns = goal[:, list(axes)].astype(float)
    count, _ = np.histogramdd(columns, bins=edges)
    hits, _ = np.histogramdd(columns, bins=edges, weights=reached.astype(float))
    return np.where(count > 0, hits / np.maximum(count, 1), np.nan)
