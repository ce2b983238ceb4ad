"""Which of the drawn robots each environment simulates, and when it changes.

Many robots are drawn and compiled once; an environment takes another one whenever an episode starts anew, and keeps its
own when an episode goes on where the last one ended. That costs no more than an index: drawing anew inside a jitted
rollout would need `mj_setConst`, which MJX doesn't have. Environment e starts for the n-th time (n = 0, 1, ...) with
robot (e + n (N + 1)) mod M, in both backends alike. The step N + 1, not N, gives it another robot where M = N, too.

Shapes: `N` environments, `M` robots.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any, Self

from sim2real.randomisation.config import Randomisation
from sim2real.randomised_robots.disturbances import Disturbances, as_float32
from sim2real.randomised_robots.dynamics import Dynamics, make_dynamics
from sim2real.randomised_robots.sampling import Draws, sample
from sim2real.tasks.task import Task

POOL_SIZE = 4096
"""Robots drawn for training, at least as many as environments."""


@dataclass(frozen=True)
class Robots:
    """All that differs between the environments of one backend."""

    draws: Draws
    """All M robots, float64."""
    signal_draws: Draws
    """The same as float32, for `disturbances`."""
    dynamics: Dynamics
    disturbances: Disturbances
    num_envs: int
    keep: bool
    """Each environment keeps one robot, number e mod M: for evaluation, and for tests with given robots."""

    @classmethod
    def of(cls, task: Task, draws: Draws | None, *, num_envs: int, seed: int, keep: bool) -> Self | None:
        """None where nothing differs from the model: the backends then run as if randomisation did not exist."""
        if draws is None or not draws.active:
            return None
        disturbances = Disturbances(task, draws, seed=seed, num_envs=num_envs)
        return cls(draws, as_float32(draws), make_dynamics(task, draws), disturbances, num_envs, keep)

    def index(self, xp: ModuleType, starts: Any) -> Any:
        """The robot of every environment, `[N]`, after `starts` `[N]` new starts, counted from 0."""
        env = xp.arange(self.num_envs)
        return (env + (0 if self.keep else starts * (self.num_envs + 1))) % self.draws.num_robots


def sample_robots(setting: Randomisation, task: Task, *, num_envs: int, seed: int, keep: bool) -> Draws | None:
    """Robots for `num_envs` environments; None where the setting changes nothing."""
    if not setting.active:
        return None
    return sample(setting, task, count=num_envs if keep else max(num_envs, POOL_SIZE), seed=seed)
