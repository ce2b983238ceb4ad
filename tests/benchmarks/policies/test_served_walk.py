from __future__ import annotations

import numpy as np

from benchmarks.policies.served_walk import goals_in_a_row
from sim2real.tasks.task import load_task


def test_goals_lie_one_to_three_metres_apart_and_where_they_may_be_asked_for() -> None:
    contract = load_task("quadruped_walk").contract
    goals = goals_in_a_row(contract, 25, seed=0)
    requests = np.array([goal.planar for goal in goals])
    assert contract.goal.allows(contract, requests).all()
    places = np.concatenate([np.zeros((1, 2)), requests[:, :2]])
    ways = np.linalg.norm(np.diff(places, axis=0), axis=-1)
    assert 1.0 <= ways.min() < 1.5
    assert 2.5 < ways.max() <= 3.0
    assert np.ptp(requests[:, 2]) > 4.0
    assert goals_in_a_row(contract, 25, seed=1) != goals
