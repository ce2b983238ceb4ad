"""What the critics learn of random walks in a row of places, against what is computed."""

from __future__ import annotations

import numpy as np
import pytest

from teacher.config import LearnerConfig, SurvivalConfig
from teacher.objectives import ObjectiveName
from tests.teacher.objectives import chain

GAMMA = 0.95
# Goals of other rows only: goals from the own future are those that were reached, which would bias the time.
UNBIASED = SurvivalConfig(window=chain.WINDOW, time_gamma=GAMMA, own_goal_share=0.0, other_goal_share=1.0)


def learnt(objective: ObjectiveName) -> np.ndarray:
    """Values `[place, action, goal]` of a trained critic."""
    learner = LearnerConfig(objective=objective, batch_size=64, gamma=0.8, survival=UNBIASED)
    return chain.values(*chain.trained(learner, updates=500))


@pytest.mark.parametrize("objective", ["infonce", pytest.param("survival", marks=pytest.mark.slow), "chrono"])
def test_critics_rank_actions_and_tell_the_time(objective: ObjectiveName) -> None:
    value, exact = learnt(objective), chain.expected_times(GAMMA)
    gain, exact_gain = value[:, 1] - value[:, 0], exact[:, 0] - exact[:, 1]
    matters = np.abs(exact_gain) > 0.5
    assert matters.mean() > 0.5
    assert (np.sign(gain) == np.sign(exact_gain))[matters].mean() > 0.9
    if objective == "infonce":
        # Its energies are no times, but farther is less.
        assert all(value[0, 1, place] > value[0, 1, place + 2] for place in range(1, chain.PLACES - 2))
        return
    assert np.abs(-value - exact).mean() < 0.1 * exact.mean()
    assert np.corrcoef(-value.ravel(), exact.ravel())[0, 1] > 0.98
