"""What the critics learn of random walks in a row of places, against what is computed."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest

from teacher.config import LearnerConfig, SurvivalConfig
from teacher.objectives import ObjectiveName
from tests.teacher.objectives import chain

GAMMA = 0.95
# Goals of other rows only: goals from the own future are those that were reached, which would bias the time.
UNBIASED = SurvivalConfig(window=chain.WINDOW, time_gamma=GAMMA, own_goal_share=0.0, other_goal_share=1.0)


Sees = Literal["goal", "way"]


def learnt(objective: ObjectiveName, sees: Sees) -> np.ndarray:
    """Values `[place, action, goal]` of a trained critic."""
    learner = LearnerConfig(objective=objective, batch_size=64, gamma=0.8, survival=UNBIASED, critic_sees=sees)
    return chain.values(*chain.trained(learner, updates=500))


CRITICS: list[Any] = [
    ("infonce", "goal"),
    ("infonce", "way"),
    pytest.param("survival", "goal", marks=pytest.mark.slow),
    pytest.param("survival", "way", marks=pytest.mark.slow),
    ("chrono", "goal"),
    pytest.param("chrono", "way", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("objective", "sees"), CRITICS)
def test_critics_rank_actions_and_tell_the_time(objective: ObjectiveName, sees: Sees) -> None:
    value, exact = learnt(objective, sees), chain.expected_times(GAMMA)
    gain, exact_gain = value[:, 1] - value[:, 0], exact[:, 0] - exact[:, 1]
    matters = np.abs(exact_gain) > 0.5
    assert matters.mean() > 0.5
    assert (np.sign(gain) == np.sign(exact_gain))[matters].mean() > 0.9
    if objective == "infonce":
        # Its energies are no times, but farther is less: of places, which are alike common in the batch. Of ways short
        # ones are common, and an energy says how much more common it is here.
        assert sees == "way" or all(value[0, 1, place] > value[0, 1, place + 2] for place in range(1, chain.PLACES - 2))
        return
    assert np.abs(-value - exact).mean() < 0.1 * exact.mean()
    assert np.corrcoef(-value.ravel(), exact.ravel())[0, 1] > 0.98
