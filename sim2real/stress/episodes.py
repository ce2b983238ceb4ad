"""Episodes of an exported policy on robots that differ from its model: the graph itself, in native MuJoCo, all cores.

    stand = Stand(policy_path, task, seed=0)
    stand.successes(Randomisation(payload_mass_kg=Fixed(fixed=2.0)), first=0, count=64)     # [64] bool

Episode i has the same start and goal under every setting, so that settings are compared on equal terms.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sim2real.backends.base import Rollout
from sim2real.backends.native import NativeEnvironment
from sim2real.contract import require_same_interface
from sim2real.contract.interface import achieved, action_size, goal_vector, observe
from sim2real.errors import ShoalError
from sim2real.evaluation.onnx_policy import OnnxPolicy
from sim2real.evaluation.success import EpisodeErrors, episode_errors
from sim2real.randomisation.config import Randomisation
from sim2real.randomised_robots.sampling import Draws, sample
from sim2real.tasks.goal_pool import sample_goal_pool
from sim2real.tasks.task import Task

STRESS_SEED = 9_000_011
"""Far from the seeds of training (from 0 up) and of the evaluations during training (from 1,000,003 up)."""


class Stand:
    """One policy file on one task. `ShoalError` where the two don't belong together."""

    def __init__(self, model: Path, task: Task, *, seed: int, episodes: int) -> None:
        """`episodes` is the largest number that will be asked for under one setting."""
        policy = OnnxPolicy(model, batch=1)
        require_same_interface(policy.contract, task.contract, left_name=model.name, right_name="the task today")
        self.task, self.model, self.episodes = task, model, episodes
        self._seed = STRESS_SEED + seed
        self._pool = sample_goal_pool(task, size=2 * episodes, seed=self._seed)

    def successes(self, setting: Randomisation, *, first: int, count: int) -> np.ndarray:
        """Which of the episodes `first` to `first + count` reach their goals within the coarse tolerance, `[count]`
        bool, each on a robot drawn from `setting`.
        """
        if first + count > self.episodes:
            raise ShoalError(f"stress: {first + count} episodes were asked for, but only {self.episodes} are planned.")
        draws = sample(setting, self.task, count=count, seed=self._seed + first)
        return self.errors_of(draws, first=first).coarse

    def errors_of(self, draws: Draws, *, first: int = 0) -> EpisodeErrors:
        """Episodes from `first` on, on given robots, one for each."""
        count = draws.num_robots
        env = NativeEnvironment(
            self.task, num_envs=count, seed=self._seed + first, pool=self._pool, draws=draws, keep_robots=True
        )
        rows = slice(first, first + count)
        env.place(np.arange(count), self._pool.start[rows], self._goals(first, count))
        return episode_errors(self.task.contract, fly(env, OnnxPolicy(self.model, batch=count)))

    def _goals(self, first: int, count: int) -> np.ndarray:
        return self._pool.goal[self.episodes + first : self.episodes + first + count]


def fly(env: NativeEnvironment, policy: OnnxPolicy) -> Rollout:
    """The episode that every robot has just begun. The policy sees disturbed readings; `achieved` is the truth.

    A file gives commands, so the rollout's actions are unknown (NaN). Robots whose episode is over early go on as they
    are: what happens then doesn't count.
    """
    contract = env.contract
    request = env.goals().copy()
    goal = goal_vector(np, contract, request)
    action = np.full((env.num_envs, action_size(contract)), np.nan, np.float32)
    columns: tuple[list[np.ndarray], ...] = ([], [], [], [], [], [])
    policy.forget()
    for _ in range(contract.timing.episode_steps):
        truth, readings = env.true_readings(), env.readings()
        target, _ = policy(readings, request)
        last = env.advance(target)
        done = achieved(np, contract, truth).astype(np.float32)
        row = (observe(np, contract, readings).astype(np.float32), done, goal, action, last, env.terminated)
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    return Rollout(*(np.stack(column) for column in columns))
