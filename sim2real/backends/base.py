"""What a simulation backend gives to training and evaluation.

Shapes: `T` control steps, `N` environments, `D` observation size, `G` goal-vector size, `J` joints.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypedDict

import numpy as np

from sim2real.contract import Contract
from sim2real.randomised_robots.robots import Robots
from sim2real.randomised_robots.sampling import Draws
from sim2real.robots.kinematics import Addresses
from sim2real.tasks import goal_pool
from sim2real.tasks.goal_pool import GoalPool, mix_in_wide_starts, sample_goal_pool
from sim2real.tasks.task import Task

Array = Any
"""NumPy on the native backend, JAX on mjx."""

ApplyPolicy = Callable[[Any, Array, Array, Array], Array]
"""`apply(params, observation [N, D], goal [N, G], key) -> action [N, J]`, traceable by JAX."""


class Rollout(NamedTuple):
    """What one call of `Environment.rollout` saw, time first."""

    observation: Array
    """`[T, N, D]`."""
    achieved: Array
    """`[T, N, G]`, the goal vector that is fulfilled."""
    goal: Array
    """`[T, N, G]`, the commanded goal."""
    action: Array
    """`[T, N, J]` in [-1, 1]."""
    last: Array
    """`[T, N]` bool, true on the last step of an episode."""
    terminated: Array
    """`[T, N]` bool, true on that of an episode that was over before its time."""


class Settings(TypedDict, total=False):
    """How an environment starts its episodes and what it shows, for either backend."""

    pool: GoalPool | None
    """Starts and goals; drawn from the seed where there is none."""
    privileged: bool
    """Observations hold the task's `teacher_readings` as well."""
    out_of_distribution_goal_share: float
    """Share of the goals that are drawn in bounds 1.4 times as wide, without asking whether they can be reached."""
    continue_share: float
    """Share of the episodes after the first that begin where the last one ended, as on a robot that is sent one goal
    after another; `reset` always starts anew."""
    wide_start_share: float
    """Share of the starts that lie anywhere in the joint ranges, see `mix_in_wide_starts`."""
    resample: bool
    """False lets every environment repeat its first start and goal, as the published code of arXiv 2503.14858 does."""
    keep_robots: bool
    """An environment keeps its randomised robot for ever, for evaluation, instead of another with every new start."""


class OfTask:
    """What an environment of either backend makes of its task and settings."""

    def __init__(
        self,
        task: Task,
        *,
        num_envs: int,
        seed: int,
        pool: GoalPool | None = None,
        privileged: bool = False,
        out_of_distribution_goal_share: float = 0.0,
        continue_share: float = 0.0,
        wide_start_share: float = 0.0,
        resample: bool = True,
        keep_robots: bool = False,
        draws: Draws | None = None,
    ) -> None:
        """`draws` are the parameters of randomised robots."""
        self.contract, self.teacher_contract = task.contract, task.teacher_contract
        self._seen = task.teacher_contract if privileged else task.contract
        self.num_envs = num_envs
        self.robots = Robots.of(task, draws, num_envs=num_envs, seed=seed, keep=keep_robots)
        self.pool = pool if pool is not None else sample_goal_pool(task, size=goal_pool.POOL_SIZE, seed=seed)
        self._start_pool = mix_in_wide_starts(task, self.pool, share=wide_start_share, seed=seed)
        self._out_of_distribution_goal_share = out_of_distribution_goal_share
        self._continue_share, self._resample = continue_share, resample
        model = self._described = self.robots.dynamics.model if self.robots else task.model
        self._addresses, self._scene = Addresses.of(model, self.contract.robot), task.scene.of(model)


class Environment(Protocol):
    """N robots that start and are given goals at random, anew in every episode."""

    contract: Contract
    teacher_contract: Contract
    """The same with what only teachers are told."""
    num_envs: int
    pool: GoalPool

    def reset(self) -> None:
        """Start a new episode in every environment, with new starts and goals."""

    def rollout(self, apply: ApplyPolicy, params: Any, key: Array, steps: int) -> Rollout:
        """Advance all environments by `steps` control steps under a policy; episodes restart by themselves."""

    def readings(self) -> dict[str, np.ndarray]:
        """The present readings of every robot as its policy gets them, and those that only a teacher gets, by name,
        `[N, size]`.
        """

    def true_readings(self) -> dict[str, np.ndarray]:
        """The present readings of every robot without noise, bias and delay, and those that only a teacher gets, by
        name, `[N, size]`.
        """

    def goals(self) -> np.ndarray:
        """The requests in force, `[N, K]`."""

    def set_goals(self, ids: np.ndarray, goal: np.ndarray) -> None:
        """Give environments `ids` `[n]` other requests `[n, K]` in the middle of their episodes."""

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything that the next rollout depends on, for an exact resume."""

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Continue from `state_dict()` of an environment of the same task and size."""
