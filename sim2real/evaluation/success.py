"""Success of a policy over whole episodes, whatever policy and whatever backend.

A goal counts as reached when the tolerance holds for the last `goal.hold_s` of the episode. An episode that was over
before its time has failed, and from then on keeps the errors that it had.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from sim2real.backends.base import Rollout
from sim2real.contract import Contract
from sim2real.contract.interface import goal_errors


@dataclass(frozen=True)
class Score:
    """Shares are over episodes; errors are at the last step."""

    episodes: int
    success_coarse: float
    """Within `goal.coarse_position_m` and `goal.coarse_angle_deg`, held."""
    success_fine: float
    """Within `goal.fine_position_m` and `goal.fine_angle_deg`, held."""
    time_at_goal: float
    """Mean share of an episode's steps within the coarse tolerance."""
    position_error_m: float
    """Median."""
    angle_error_deg: float
    """Median; 0 for goals without rotation."""
    terminated: float
    """Share of the episodes that were over before their time."""

    def as_dict(self) -> dict[str, float]:
        """Plain numbers, for logs."""
        return asdict(self)


@dataclass(frozen=True)
class EpisodeErrors:
    """Errors of whole episodes, `[T, N]`, and which episodes were reached, `[N]` bool."""

    position_m: np.ndarray
    angle_deg: np.ndarray
    alive: np.ndarray
    """`[T, N]` bool, false once an episode was over before its time."""
    coarse: np.ndarray
    fine: np.ndarray


def episode_errors(contract: Contract, rollout: Rollout) -> EpisodeErrors:
    """Errors over time of a rollout that holds exactly one episode of every environment."""
    position, angle = goal_errors(contract, np.asarray(rollout.achieved), np.asarray(rollout.goal))
    alive = first_episode(rollout)
    position, angle = (_kept(values, alive) for values in (position, angle))
    goal = contract.goal
    hold = max(1, round(goal.hold_s / contract.timing.control_dt_s))

    def held(position_m: float, angle_deg: float) -> np.ndarray:
        within = (position <= position_m) & (angle <= angle_deg) & alive
        return np.asarray(within[-hold:].all(axis=0))

    return EpisodeErrors(
        position,
        angle,
        alive,
        held(goal.coarse_position_m, goal.coarse_angle_deg),
        held(goal.fine_position_m, goal.fine_angle_deg),
    )


def score(contract: Contract, rollout: Rollout) -> Score:
    """Summary of a rollout that holds exactly one episode of every environment."""
    errors = episode_errors(contract, rollout)
    goal = contract.goal
    within = (errors.position_m <= goal.coarse_position_m) & (errors.angle_deg <= goal.coarse_angle_deg)
    at_goal = within & errors.alive
    return Score(
        episodes=errors.coarse.size,
        success_coarse=float(errors.coarse.mean()),
        success_fine=float(errors.fine.mean()),
        time_at_goal=float(at_goal.mean()),
        position_error_m=float(np.median(errors.position_m[-1])),
        angle_error_deg=float(np.median(errors.angle_deg[-1])),
        terminated=float(1 - errors.alive[-1].mean()),
    )


def first_episode(rollout: Rollout) -> np.ndarray:
    """Which steps belong to the episode that a rollout of whole episodes begins with, `[T, N]` bool: all but those
    behind an early end, and the step that ended it.
    """
    over = np.logical_or.accumulate(np.asarray(rollout.terminated), axis=0)
    return np.asarray(~over)


def _kept(values: np.ndarray, alive: np.ndarray) -> np.ndarray:
    """`[T, N]` values, once an episode is over those of its last step."""
    if alive.all():
        return values
    last = np.maximum(alive.sum(axis=0) - 1, 0)
    return np.where(alive, values, values[last, np.arange(values.shape[1])])
