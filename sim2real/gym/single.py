"""One robot as a `gymnasium.Env` with the conventions of `GoalEnv`."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from sim2real.contract.interface import request_size
from sim2real.errors import ShoalError
from sim2real.gym.episodes import Episodes, Observation
from sim2real.gym.goal_rule import flags
from sim2real.gym.picture import Picture
from sim2real.tasks.task import Task

_METADATA: dict[str, Any] = {"render_modes": ["rgb_array"]}


class TaskEnv(gymnasium.Env[dict[str, Any], np.ndarray]):
    """A task, by name, file or object; see `sim2real.gym.episodes.Episodes` for the other settings.

    `reset(options={"goal": request})` asks for something in particular: a flat vector in SI units, as in the contract.
    A goal that is reached ends nothing: staying there is part of it. Episodes end when their time is up (truncated),
    or when a termination of the task says so (terminated).
    """

    metadata = _METADATA

    def __init__(self, task: str | Path | Task, *, render_mode: str | None = None, **settings: Any) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ShoalError(f"render_mode {render_mode!r} should be rgb_array, or None.")
        self._episodes = Episodes(task, num_envs=1, **settings)
        self.render_mode = render_mode
        self.metadata = self.metadata | {"render_fps": 1 / self._episodes.contract.timing.control_dt_s}
        self.observation_space = self._episodes.observation_space()
        self.action_space = self._episodes.action_space()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode; the same `seed` gives the same one."""
        super().reset(seed=seed)
        if seed is not None:
            self._episodes.seed(seed)
        self._episodes.begin(np.arange(1), self.np_random, self._asked(options or {}))
        observation, info = self._episodes.observe()
        return _first(observation), _plain(info)

    def _asked(self, options: dict[str, Any]) -> np.ndarray | None:
        unknown = sorted({*options} - {"goal"})
        if unknown:
            raise ShoalError(f"options: unknown {', '.join(map(repr, unknown))}; known is 'goal'.")
        if options.get("goal") is None:
            return None
        goal, size = np.asarray(options["goal"], np.float32), request_size(self._episodes.contract)
        if goal.shape != (size,) or not np.isfinite(goal).all():
            raise ShoalError(f"options.goal should be {size} finite numbers, got {goal.tolist()}.")
        return goal[None]

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Advance by one control step."""
        seen, reward, terminated, truncated, info = self._episodes.step(np.asarray(action)[None])
        return _first(seen), float(reward[0]), bool(terminated[0]), bool(truncated[0]), _plain(info)

    def compute_reward(self, achieved_goal: np.ndarray, desired_goal: np.ndarray, info: Any) -> Any:
        """The reward of any pair of goals, `[G]` to a float or `[N, G]` to `[N]`."""
        rewards = self._episodes.rule.rewards(achieved_goal, desired_goal)
        return rewards if rewards.ndim else float(rewards)

    def compute_terminated(self, achieved_goal: np.ndarray, desired_goal: np.ndarray, info: Any) -> Any:
        """Whether a termination ended it, which no goal changes: what `info`, or each of a sequence, says."""
        return flags(info, "terminated")

    def compute_truncated(self, achieved_goal: np.ndarray, desired_goal: np.ndarray, info: Any) -> Any:
        """Whether its time was up, which no goal changes either."""
        return flags(info, "truncated")

    @cached_property
    def _picture(self) -> Picture:
        return Picture(self._episodes.task)

    def render(self) -> np.ndarray | None:
        """The robot and its goal, `[height, width, 3]` uint8, where `render_mode` is `rgb_array`."""
        if self.render_mode is None:
            return None
        return self._picture.draw(self._episodes.qpos(0), self._episodes.goal(0))

    def close(self) -> None:
        """Give back what drawing took."""
        if "_picture" in self.__dict__:
            self._picture.close()
            del self._picture


def _first(batch: Observation) -> Observation:
    return {name: values[0] for name, values in batch.items()}


def _plain(info: Observation) -> dict[str, Any]:
    return {name: values[0].item() for name, values in info.items()}
