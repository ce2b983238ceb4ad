"""Every kind of reset: what it may draw, what it refuses, and what it leaves as it is at home."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sim2real.errors import ShoalError
from sim2real.tasks.goal_pool import GoalPool, sample_goal_pool
from sim2real.tasks.task import load_task
from tests.sim2real.planar_arm import MJCF, write_task

KEYS = MJCF.replace(
    "<keyframe>",
    '<keyframe><key name="folded" qpos="-1 2" qvel="0.5 0"/><key name="stretched" qpos="1 0.1"/>',
)


def drawn(path: Path, size: int = 60) -> GoalPool:
    return sample_goal_pool(load_task(path), size=size, seed=0)


@pytest.mark.parametrize("half_range", [0.01, 0.5])
def test_a_home_beside_a_limit_is_a_start(half_range: float, tmp_path: Path) -> None:
    mjcf = MJCF.replace('qpos="0.2 0.5" ctrl="0.2 0.5"', 'qpos="1.99 0.5" ctrl="1.99 0.5"')
    assert mjcf != MJCF
    resets = [{"kind": "around_home", "half_range": [half_range, half_range]}]
    start = drawn(write_task(tmp_path, mjcf=mjcf, resets=resets)).start
    assert start[:, 0].max() <= 1.99
    assert start[:, 0].min() >= 1.99 - half_range


def test_keyframes_are_drawn_alike_with_their_velocities(tmp_path: Path) -> None:
    resets = [{"kind": "keyframes", "names": ["folded", "stretched"]}]
    pool = drawn(write_task(tmp_path, mjcf=KEYS, resets=resets), size=200)
    folded = pool.start[:, 1] == 2
    np.testing.assert_array_equal(pool.start[folded], np.broadcast_to([-1, 2], (folded.sum(), 2)))
    np.testing.assert_array_equal(pool.start[~folded], np.broadcast_to([1, 0.1], ((~folded).sum(), 2)))
    np.testing.assert_array_equal(pool.start_velocity[:, 0], np.where(folded, 0.5, 0))
    assert 0.35 < folded.mean() < 0.65


def test_a_keyframe_that_is_not_there_is_refused(tmp_path: Path) -> None:
    task = load_task(write_task(tmp_path, mjcf=KEYS, resets=[{"kind": "keyframes", "names": ["fold"]}]))
    with pytest.raises(ShoalError, match="the MJCF has no keyframe fold; it has folded, stretched, home"):
        _ = task.contract


def test_rows_of_a_file_are_drawn(tmp_path: Path) -> None:
    rows = np.array([[0.1, 0.2], [0.3, 0.4], [-0.5, 0.6]])
    np.save(tmp_path / "starts.npy", rows)
    resets = [{"kind": "file", "path": str(tmp_path / "starts.npy")}]
    pool = drawn(write_task(tmp_path, resets=resets))
    assert {tuple(row) for row in pool.start} == {tuple(row) for row in rows}
    assert not pool.start_velocity.any()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (np.zeros((3, 5)), r"holds \(3, 5\); it must be finite rows of 2 numbers"),
        (np.zeros((0, 2)), r"holds \(0, 2\)"),
        (np.array([[np.nan, 0.0]]), "must be finite rows"),
        (None, "No such file"),
    ],
)
def test_files_of_something_else_are_refused(tmp_path: Path, content: np.ndarray | None, said: str) -> None:
    if content is not None:
        np.save(tmp_path / "starts.npy", content)
    task = load_task(write_task(tmp_path, resets=[{"kind": "file", "path": str(tmp_path / "starts.npy")}]))
    with pytest.raises(ShoalError, match=said):
        _ = task.contract


def test_a_floating_base_starts_on_its_rectangle_lifted_and_turned() -> None:
    pool = sample_goal_pool(load_task("quadruped_walk"), size=100, seed=0)
    home = load_task("quadruped_walk").home.qpos
    assert (np.abs(pool.start[:, :2]) <= 0.25).all()
    np.testing.assert_allclose(pool.start[:, 2], home[2] + 0.01)
    w, x, y, z = pool.start[:, 3:7].T
    np.testing.assert_allclose(np.hypot(x, y), 0, atol=1e-9)
    assert np.abs(2 * np.arctan2(z, w)).max() > 2.5
