from __future__ import annotations

from benchmarks.learning.gait_exploration import explore
from sim2real.tasks.task import load_task


def test_a_quadruped_gets_about_under_actions_that_stay_as_they_are_and_hardly_ever_falls() -> None:
    task = load_task("quadruped_walk")
    found = explore(task, robots=24, seconds=3.0, ends=False)
    assert found["stand"] >= 0.8
    assert found["way_median_m"] > 0.15
    assert found["way_p90_m"] > 0.4
    assert explore(task, robots=24, seconds=3.0, ends=True)["stand"] < 1
