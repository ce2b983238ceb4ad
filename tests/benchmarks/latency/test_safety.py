from __future__ import annotations

from pathlib import Path

from benchmarks.latency.safety import OFF, SETTINGS, goal_lists, measure_goals, measure_times
from runtime.inference.policy import Policy

SHIPPED = Path(__file__).resolve().parents[3] / "models" / "franka_pose.onnx"


def test_defaults_cost_no_goals() -> None:
    policy = Policy(SHIPPED)
    lists = list(goal_lists(policy.contract, 2, 4))[1:]
    without, defaults = (measure_goals(policy, setting, lists, 5.0) for setting in SETTINGS[:2])
    assert SETTINGS[0].config is OFF
    assert without["reached"] == defaults["reached"] == 1.0
    assert without["held"] == defaults["held"] == 0


def test_every_part_is_timed() -> None:
    times = measure_times(Policy(SHIPPED), 20)
    assert list(times) == ["inference", "check", "limit", "settle", "geometry"]
    assert all(value > 0 for value in times.values())
