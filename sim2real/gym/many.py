"""Many robots as one `gymnasium.vector.VectorEnv`, stepped together on the threads of this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from sim2real.errors import ShoalError
from sim2real.gym.episodes import Episodes, Observation
from sim2real.tasks.task import Task

_METADATA: dict[str, Any] = {"render_modes": [], "autoreset_mode": AutoresetMode.NEXT_STEP}


class TaskVectorEnv(VectorEnv[Observation, np.ndarray, np.ndarray]):
    """A vector of `num_envs` environments like `sim2real.gym.single.TaskEnv`.

    With `autoreset_mode` `NextStep`, Gymnasium's usual one, the step after an episode's last one starts the next and
    ignores the action; with `SameStep` the last step does, and its own observation is in `final_obs` of the info; with
    `Disabled` the caller resets those in `options={"reset_mask": ...}`.
    """

    metadata = _METADATA

    def __init__(
        self,
        task: str | Path | Task,
        *,
        num_envs: int = 1,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: None = None,
        **settings: Any,
    ) -> None:
        if render_mode is not None:
            raise ShoalError(f"render_mode {render_mode!r}: many robots at once are not drawn; make a single one.")
        self._episodes = Episodes(task, num_envs=num_envs, **settings)
        self._mode = AutoresetMode(autoreset_mode)
        self.metadata = self.metadata | {"autoreset_mode": self._mode}
        self.num_envs = num_envs
        self.single_observation_space = self._episodes.observation_space()
        self.single_action_space = self._episodes.action_space()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._over = np.zeros(num_envs, bool)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode in every environment, or in those of `options["reset_mask"]` `[N]` bool."""
        super().reset(seed=seed)
        if seed is not None:
            self._episodes.seed(seed)
        mask = np.asarray((options or {}).get("reset_mask", np.ones(self.num_envs, bool)), bool)
        self._begin(mask)
        observation, info = self._episodes.observe()
        return observation, _masked(info, np.ones(self.num_envs, bool))

    def _begin(self, which: np.ndarray) -> None:
        self._episodes.begin(np.flatnonzero(which), self.np_random)
        self._over = self._over & ~which

    def step(self, actions: np.ndarray) -> tuple[Observation, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Advance all by one control step under `[N, A]`."""
        resting = self._over
        if resting.any() and self._mode == AutoresetMode.DISABLED:
            raise ShoalError("step: some episodes are over; reset those first, with options reset_mask.")
        seen, reward, terminated, truncated, info = self._episodes.step(actions)
        if resting.any():
            self._begin(resting)
            seen, fresh = self._episodes.observe()
            info |= fresh
            reward, terminated, truncated = (
                np.where(resting, zero, value)
                for value, zero in ((reward, np.float32(0)), (terminated, False), (truncated, False))
            )
            info |= {"terminated": terminated, "truncated": truncated}
        infos = _masked(info, np.ones(self.num_envs, bool))
        over = terminated | truncated
        if self._mode == AutoresetMode.SAME_STEP and over.any():
            return self._restarted(over, seen, info, reward, terminated, truncated)
        self._over = over
        return seen, reward, terminated, truncated, infos

    def _restarted(
        self,
        over: np.ndarray,
        last: Observation,
        info: Observation,
        reward: np.ndarray,
        terminated: np.ndarray,
        truncated: np.ndarray,
    ) -> tuple[Observation, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        self._begin(over)
        seen, fresh = self._episodes.observe()
        final = np.full(self.num_envs, None, object)
        for index in np.flatnonzero(over):
            final[index] = {name: values[index] for name, values in last.items()}
        infos = _masked(info | fresh, np.ones(self.num_envs, bool))
        infos |= {"final_obs": final, "_final_obs": over, "final_info": _masked(info, over), "_final_info": over}
        return seen, reward, terminated, truncated, infos

    def compute_reward(self, achieved_goal: np.ndarray, desired_goal: np.ndarray, info: Any) -> np.ndarray:
        """The reward of any pairs of goals, `[..., G]` to `[...]`."""
        return self._episodes.rule.rewards(achieved_goal, desired_goal)


def _masked(info: Observation, present: np.ndarray) -> dict[str, Any]:
    """Infos of many as Gymnasium writes them: beside every key a mask of those that have it."""
    return info | {f"_{name}": present.copy() for name in info}
