from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
from PIL import Image

from sim2real.backends import make_environment
from sim2real.backends.base import Rollout
from sim2real.tasks.task import Task, load_task
from teacher.run.video import write_video

TASK = load_task("franka_reach")


def still(*, reached: bool, task: Task = TASK) -> Rollout:
    """One episode in which nothing moves, with the tool or the object at its goal or a metre away from it."""
    env = make_environment(task, "native", num_envs=2, seed=3)
    env.reset()
    seen = env.rollout(lambda params, observation, goal, key: np.zeros((2, 7), np.float32), None, jax.random.key(0), 20)
    return seen._replace(goal=seen.achieved if reached else seen.achieved + 1.0)


def colours(path: Path) -> set[tuple[int, int, int]]:
    """Of the first frame, without those that only smooth an edge."""
    with Image.open(path) as image:
        frame = image.convert("RGB")
        return {colour for count, colour in frame.getcolors(2**16) if count > 5}  # type: ignore[misc]


def test_real_time_one_panel_per_episode_and_nothing_else_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "videos" / "evaluation.gif"
    write_video(TASK, still(reached=True), path, episodes=2)
    with Image.open(path) as image:
        assert image.width == 2 * image.height
        # Equal frames are merged, so the durations are what stays.
        total_ms = 0
        for frame in range(image.n_frames):
            image.seek(frame)
            total_ms += image.info["duration"]
        assert total_ms == round(1e3 * 20 * TASK.contract.timing.control_dt_s)
    assert [file.name for file in path.parent.iterdir()] == ["evaluation.gif"]


def test_reached_goals_look_different(tmp_path: Path) -> None:
    green = (27, 158, 119)
    for reached in (True, False):
        write_video(TASK, still(reached=reached), tmp_path / "x.gif")
        nearest = min(np.abs(np.subtract(colour, green)).max() for colour in colours(tmp_path / "x.gif"))
        assert (nearest < 12) == reached


def test_objects_are_drawn(tmp_path: Path) -> None:
    blue, push = (59, 111, 182), load_task("franka_push")
    for task in (push, TASK):
        write_video(task, still(reached=False, task=task), tmp_path / "x.gif")
        nearest = min(np.abs(np.subtract(colour, blue)).max() for colour in colours(tmp_path / "x.gif"))
        assert (nearest < 12) == (task is push)
