from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.policies.reachability import KINDS, draw, judge, make_goals, measure
from sim2real.tasks.task import load_task

POLICY = Path(__file__).parents[3] / "models" / "franka_pose.onnx"


@pytest.mark.parametrize("kind", KINDS)
def test_goals_of_every_kind_are_tool_poses(kind: str) -> None:
    task = load_task("franka_pose")
    request = make_goals(task, kind, 16, np.random.default_rng(0)).request
    position, orientation = request[:, :3], request[:, 3:]
    low, high = np.array(task.contract.goal.position_min_m), np.array(task.contract.goal.position_max_m)
    margin = 0.21 * (high - low) if kind == "unreachable" else 1e-6
    assert ((position >= low - margin) & (position <= high + margin)).all()
    np.testing.assert_allclose(np.linalg.norm(orientation, axis=1), 1.0, atol=1e-5)


def test_one_class_has_no_auroc() -> None:
    assert judge(np.array([0.2, 0.9]), np.array([True, True]))["auroc"] is None
    assert judge(np.array([0.2, 0.9]), np.array([False, True]))["auroc"] == 1.0


def test_shipped_policy_tells_reachable_from_unreachable_goals(tmp_path: Path) -> None:
    rows = measure(POLICY, 128, 0)
    assert [(row["goals"], row["ticks"]) for row in rows] == [
        ("all", "start"),
        ("all", "all"),
        *((kind, "start") for kind in KINDS),
    ]
    assert rows[1]["states"] == 100 * rows[0]["states"] == 100 * 128
    assert rows[0]["auroc"] > 0.85
    reached = {row["goals"]: row["reached"] for row in rows[2:]}
    assert reached["reachable"] > 0.9
    assert all(reached[kind] < 0.6 for kind in KINDS[1:])
    draw(rows, tmp_path / "reachability.png")
    assert (tmp_path / "reachability.png").read_bytes().startswith(b"\x89PNG")
