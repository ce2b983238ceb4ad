from __future__ import annotations

from pathlib import Path

from benchmarks.depth.growth import evaluations
from teacher.run.folder import MetricsLog, RunFolder


def test_work_is_that_of_the_depth_that_each_update_had(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    rows = [
        {"round": 1, "updates": 100, "depth": 4, "environment_steps": 10},
        {"round": 2, "updates": 200, "depth": 4, "environment_steps": 20, "success_coarse": 0.25},
        {"round": 3, "updates": 300, "depth": 8, "environment_steps": 30, "success_coarse": 0.5},
    ]
    with MetricsLog(folder, resume_round=None) as log:
        for row in rows:
            log.append(row)
    found = evaluations(folder, {4: 10.0, 8: 25.0})
    assert [(row["updates"], row["depth"], row["work_s"]) for row in found] == [(200, 4, 2.0), (300, 8, 4.5)]
