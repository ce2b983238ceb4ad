"""N robots on the native backend, stepped by whoever holds the actions: what one environment and many have in common.

Shapes: `N` robots, `D` numbers of an observation, `G` of a goal vector, `A` of an action.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from gymnasium import spaces

from sim2real.backends.native import NativeEnvironment
from sim2real.contract.interface import (
    achieved,
    action_size,
    command,
    goal_size,
    goal_vector,
    observation_size,
    observe,
)
from sim2real.errors import ShoalError
from sim2real.gym.goal_rule import GoalRule, Reward, Tolerance
from sim2real.randomisation.config import load_randomisation
from sim2real.randomised_robots.robots import sample_robots
from sim2real.tasks.goal_pool import sample_goal_pool
from sim2real.tasks.task import Task, load_task

Observation = dict[str, np.ndarray]
"""`observation` `[N, D]`, `achieved_goal` and `desired_goal` `[N, G]`, float32."""


class Step(NamedTuple):
    """What one step led to."""

    observation: Observation
    reward: np.ndarray
    """`[N]` float32."""
    terminated: np.ndarray
    """`[N]` bool, over before its time."""
    truncated: np.ndarray
    """`[N]` bool, out of time."""
    info: Observation
    """`is_success`, `position_error_m`, `angle_error_deg`, `terminated` and `truncated`, `[N]` each."""


class Episodes:
    """Robots of one task, each in an episode of its own.

    Starts and goals are drawn from `pool_size` pairs, which a `pool_seed` fixes, so that training and evaluation can
    have goals of their own. `randomisation` is a preset or a file; what the task declares if not given. `privileged`
    observations hold the task's `teacher_readings` as well.
    """

    def __init__(
        self,
        task: str | Path | Task,
        *,
        num_envs: int,
        tolerance: Tolerance = "coarse",
        reward: Reward = "sparse",
        randomisation: str | None = None,
        privileged: bool = False,
        pool_size: int = 1024,
        pool_seed: int = 0,
    ) -> None:
        if pool_size < 1:
            raise ShoalError(f"pool_size {pool_size} should be at least 1.")
        self.task = task if isinstance(task, Task) else load_task(task)
        self.contract = self.task.contract
        self.rule = GoalRule(self.contract, tolerance, reward)
        self.num_envs = num_envs
        self._seen = self.task.teacher_contract if privileged else self.contract
        declared = self.task.config.randomisation
        self._randomisation = declared if randomisation is None else load_randomisation(randomisation)
        self._pool = sample_goal_pool(self.task, size=pool_size, seed=pool_seed)
        self._env = self._robots(seed=pool_seed)
        self._look()

    def _robots(self, *, seed: int) -> NativeEnvironment:
        draws = sample_robots(self._randomisation, self.task, num_envs=self.num_envs, seed=seed, keep=False)
        return NativeEnvironment(self.task, num_envs=self.num_envs, seed=seed, pool=self._pool, draws=draws)

    def observation_space(self) -> spaces.Dict:
        """The space of one robot."""
        sizes = {
            "observation": observation_size(self._seen),
            "achieved_goal": goal_size(self.contract),
            "desired_goal": goal_size(self.contract),
        }
        return spaces.Dict(
            {name: spaces.Box(-np.inf, np.inf, shape=(size,), dtype=np.float32) for name, size in sizes.items()}
        )

    def action_space(self) -> spaces.Box:
        """The space of one robot."""
        return spaces.Box(-1.0, 1.0, shape=(action_size(self.contract),), dtype=np.float32)

    def seed(self, seed: int) -> None:
        """Make everything that follows depend on `seed` alone; robots that differ are drawn anew."""
        if self._randomisation.active:
            self._env = self._robots(seed=seed)

    def begin(self, ids: np.ndarray, rng: np.random.Generator, goal: np.ndarray | None = None) -> None:
        """Start episodes of robots `ids` `[n]`, with requests drawn or given, `[n, K]`."""
        pool = self._pool
        rows = rng.integers(len(pool.start), size=len(ids))
        drawn = pool.goal[rng.integers(len(pool.goal), size=len(ids))]
        self._env.place(ids, pool.start[rows], drawn if goal is None else goal, velocity=pool.start_velocity[rows])
        self._look()

    def _look(self) -> None:
        self._truth, self._readings = self._env.true_readings(), self._env.readings()

    def observe(self) -> tuple[Observation, Observation]:
        """Observations, and infos on how near the goals are."""
        seen = {
            "observation": observe(np, self._seen, self._readings).astype(np.float32),
            "achieved_goal": achieved(np, self.contract, self._truth).astype(np.float32),
            "desired_goal": goal_vector(np, self.contract, self._env.goals()).astype(np.float32),
        }
        goals = seen["achieved_goal"], seen["desired_goal"]
        length_m, angle_deg = self.rule.errors(*goals)
        return seen, {
            "is_success": self.rule.reached(*goals),
            "position_error_m": np.broadcast_to(length_m, self.num_envs).astype(np.float64),
            "angle_error_deg": np.broadcast_to(angle_deg, self.num_envs).astype(np.float64),
        }

    def step(self, action: np.ndarray) -> Step:
        """Advance every robot by one control step under actions `[N, A]`, clipped to [-1, 1]."""
        actions = np.clip(np.asarray(action, np.float32), -1, 1)
        ended = self._env.advance(command(np, self.contract, actions, self._readings))
        self._look()
        seen, info = self.observe()
        terminated = self._env.terminated.copy()
        truncated = ended & ~terminated
        reward = self.rule.rewards(seen["achieved_goal"], seen["desired_goal"])
        return Step(seen, reward, terminated, truncated, info | {"terminated": terminated, "truncated": truncated})

    def qpos(self, robot: int) -> np.ndarray:
        """Where everything of one robot's model is, `[nq]`."""
        return np.array(self._env.state_dict()["qpos"][robot])

    def goal(self, robot: int) -> np.ndarray:
        """The request that one robot was given, `[K]`."""
        return np.array(self._env.goals()[robot])
