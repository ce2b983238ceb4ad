"""A task file that begins with another one and says only what differs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from sim2real.errors import ShoalError
from sim2real.tasks.task import TaskConfig, load_task
from tests.sim2real.planar_arm import write_task


def _extending(folder: Path, base: str, **fields: object) -> Path:
    path = folder / "mine" / "mine.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump({"extends": base, "name": "mine", **fields}))
    return path


def test_what_it_does_not_say_is_the_other_tasks(tmp_path: Path) -> None:
    base = load_task(write_task(tmp_path))
    timing = {"physics_dt_s": 0.002, "control_dt_s": 0.04, "episode_s": 2.0}
    task = load_task(_extending(tmp_path, "../task.yaml", timing=timing))
    assert task.contract.timing.control_dt_s == 0.04
    assert task.mjcf_path == base.mjcf_path
    assert (
        task.config.model_copy(
            update={"name": base.config.name, "timing": base.config.timing, "robot": base.config.robot}
        )
        == base.config
    )


def test_single_fields_of_the_robot_may_differ(tmp_path: Path) -> None:
    base = load_task(write_task(tmp_path))
    robot = load_task(_extending(tmp_path, "../task.yaml", robot={"velocity_max": [1.0, 1.0]})).config.robot
    assert robot.velocity_max == [1.0, 1.0]
    assert robot.joints == base.config.robot.joints


def test_a_shipped_task_is_named(tmp_path: Path) -> None:
    task = load_task(_extending(tmp_path, "franka_reach"))
    assert task.contract.robot == load_task("franka_reach").contract.robot


def test_the_schema_asks_for_nothing_more_of_it() -> None:
    schema = TaskConfig.model_json_schema()
    assert "required" not in schema
    extending, whole = schema["anyOf"]
    assert extending["required"] == ["extends"]
    assert {"robot", "goal", "timing"} <= set(whole["required"])
    assert "extends" in schema["properties"]


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ("mine.yaml", "extends this file itself"),
        ("nowhere.yaml", "cannot read|no file"),
        ("no_such_task", "unknown task"),
        (5, "extends: 5 is no task"),
    ],
)
def test_what_cannot_be_extended_is_said(base: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ShoalError, match=said):
        load_task(_extending(tmp_path, base))


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    path = _extending(tmp_path, "pipe.yaml")
    os.mkfifo(path.parent / "pipe.yaml")
    with pytest.raises(ShoalError, match="no ordinary file"):
        load_task(path)


def test_circles_through_other_files_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: b.yaml\nname: a\n")
    (tmp_path / "b.yaml").write_text("extends: a.yaml\nname: b\n")
    with pytest.raises(ShoalError, match="extends this file itself"):
        load_task(tmp_path / "a.yaml")
