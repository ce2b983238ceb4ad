"""Success of a policy over whole episodes, whatever policy and whatever backend.

A goal counts as reached when the tolerance holds for the last `goal.hold_s` of the episode.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from sim2real.backends.base import Rollout
from sim2real.contract import Contract
from sim2real.contract.interface import pose_errors


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
    """Median; 0 for position goals."""

    def as_dict(self) -> dict[str, float]:
        """Plain numbers, for logs."""
        return asdict(self)


@dataclass(frozen=True)
class EpisodeErrors:
    """Errors of whole episodes, `[T, N]`, and which episodes were reached, `[N]` bool."""

    position_m: np.ndarray
    angle_deg: np.ndarray
    coarse: np.ndarray
    fine: np.ndarray


def episode_errors(contract: Contract, rollout: Rollout) -> EpisodeErrors:
    """Errors over time of a rollout that holds exactly one episode of every environment."""
    position, angle = pose_errors(contract, np.asarray(rollout.achieved), np.asarray(rollout.goal))
    goal = contract.goal
    hold = max(1, round(goal.hold_s / contract.timing.control_dt_s))

    def held(position_m: float, angle_deg: float) -> np.ndarray:
        within = (position <= position_m) & (angle <= angle_deg)
        return np.asarray(within[-hold:].all(axis=0))

    return EpisodeErrors(
        position,
        angle,
        held(goal.coarse_position_m, goal.coarse_angle_deg),
        held(goal.fine_position_m, goal.fine_angle_deg),
    )


def score(contract: Contract, rollout: Rollout) -> Score:
    """Summary of a rollout that holds exactly one episode of every environment."""
    errors = episode_errors(contract, rollout)
    goal = contract.goal
    at_goal = (errors.position_m <= goal.coarse_position_m) & (errors.angle_deg <= goal.coarse_angle_deg)
    return Score(
        episodes=errors.coarse.size,
        success_coarse=float(errors.coarse.mean()),
        success_fine=float(errors.fine.mean()),
        time_at_goal=float(at_goal.mean()),
        position_error_m=float(np.median(errors.position_m[-1])),
        angle_error_deg=float(np.median(errors.angle_deg[-1])),
    )
