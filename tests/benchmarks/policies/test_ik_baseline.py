"""The baseline keeps the policy's limits and reaches goals, and its measures say what they claim."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.policies.ik_baseline import (
    FAR_M,
    Flown,
    InverseKinematics,
    clearance_m,
    fly,
    measure,
    summary,
    watched_pairs,
)
from sim2real.errors import ShoalError
from sim2real.tasks.task import Task, load_task

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def flown(pose_task: Task) -> tuple[Flown, np.ndarray, InverseKinematics]:
    solver, sent = InverseKinematics(pose_task, episodes=2), []

    def targets(readings: dict[str, np.ndarray], request: np.ndarray) -> np.ndarray:
        if not sent:
            sent.append(readings["joint_position_target"])
        sent.append(solver(readings, request))
        return sent[-1]

    return fly(pose_task, targets, episodes=2, seed=1), np.stack(sent), solver


def test_reaches_its_goals_within_the_policys_own_steps(
    flown: tuple[Flown, np.ndarray, InverseKinematics], pose_task: Task
) -> None:
    episodes, sent, solver = flown
    assert solver.unsolved == 0
    assert (episodes.error_m[-1] < 1e-3).all()
    assert (episodes.error_deg[-1] < 0.5).all()
    steps = np.abs(np.diff(sent, axis=0)).max(axis=(0, 1))
    allowed = np.array(pose_task.contract.action.step_max)
    assert (steps <= allowed + 1e-5).all()
    assert (steps / allowed).max() > 0.99  # and they are what limits it
    row = summary(pose_task, episodes)
    assert row["fine"]["reached"] == 2
    assert 0.1 < row["time_s"] < 2


def test_time_counts_from_the_first_command_to_where_it_stays(pose_task: Task) -> None:
    hold, dt_s = 13, pose_task.contract.timing.control_dt_s
    error = np.full((60, 2), 0.3)
    error[9:] = 0.001  # after ten steps
    error[30:, 1] = 0.3  # leaves again
    home = np.tile(pose_task.scene.addresses.joint_position(pose_task.scene.home), (60, 2, 1))
    still = Flown(home, np.zeros_like(home), error, np.zeros_like(error))
    row = summary(pose_task, still)
    assert round(pose_task.contract.goal.hold_s / dt_s) in (hold - 1, hold)
    assert row["fine"]["reached"] == 1
    assert row["time_s"] == pytest.approx(10 * dt_s)
    assert row["jerk_peak_rad_s3"] == 0


def test_clearance_is_that_of_links_and_floor(pose_task: Task) -> None:
    home = pose_task.scene.addresses.joint_position(pose_task.scene.home)
    folded, low = home.copy(), home.copy()
    folded[3], folded[5] = -3.0, 4.5  # the hand against the arm
    low[1], low[3] = 1.2, -0.9  # stretched out and down
    names = {pose_task.model.geom(g).name for pair in watched_pairs(pose_task) for g in pair}
    assert {"floor", "hand"} <= names
    found = clearance_m(pose_task, np.stack([home, folded, low])[None])
    assert found[0] == FAR_M
    assert (found[1:] < 0.08).all()


def test_what_ik_cannot_do_is_said() -> None:
    with pytest.raises(ShoalError, match="does not bring a tool to its goals"):
        measure(ROOT / "models" / "franka_push.onnx", episodes=1, seed=0)
    assert load_task("franka_push").contract.goal.kind == "object_position"
