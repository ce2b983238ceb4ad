"""The example robot of docs/bring_your_own_robot.md works as printed."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from sim2real.backends.native import NativeEnvironment
from sim2real.contract import Contract, Frozen, Timing
from sim2real.contract.interface import observation_size
from sim2real.tasks.goal_pool import sample_goal_pool
from sim2real.tasks.task import (
    ActionConfig,
    GoalConfig,
    ObjectReset,
    ResetConfig,
    RobotConfig,
    Task,
    TaskConfig,
    load_task,
)

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def example(tmp_path: Path) -> Task:
    """The two files of the document, each written under the name that the document gives it."""
    text = (DOCS / "bring_your_own_robot.md").read_text()
    files = re.findall(r"`([\w.]+)`:\n\n```(?:xml|yaml)\n(.*?)```", text, re.DOTALL)
    assert [name for name, _ in files] == ["arm.xml", "task.yaml"]
    for name, content in files:
        (tmp_path / name).write_text(content)
    return load_task(tmp_path / "task.yaml")


def test_example_has_reachable_starts_and_goals(example: Task) -> None:
    pool = sample_goal_pool(example, size=100, seed=0)
    assert example.contract.joint_names == ("shoulder", "elbow")
    assert np.all(pool.tool_position >= np.array(example.contract.goal.position_min_m, np.float32))
    assert np.all(pool.tool_position <= np.array(example.contract.goal.position_max_m, np.float32))


def test_example_moves_to_where_its_policy_points(example: Task) -> None:
    env = NativeEnvironment(example, num_envs=8, seed=0, pool=sample_goal_pool(example, size=50, seed=0))
    before = env.readings()["joint_position"].copy()
    rollout = env.rollout_with(lambda observation, goal: np.ones((8, 2), np.float32), steps=10)
    moved = env.readings()["joint_position"] - before
    assert rollout.observation.shape == (10, 8, observation_size(example.contract))
    limits = np.array([joint.position_max for joint in example.contract.robot.joints])
    free = before + 10 * np.array(example.contract.action.step_max) < limits
    assert free.any()
    assert np.all(moved[free] > 0.3)


def test_every_field_of_a_task_is_documented() -> None:
    text = (DOCS / "bring_your_own_robot.md").read_text()
    parts: dict[str, type[Frozen]] = {
        "robot": RobotConfig,
        "action": ActionConfig,
        "goal": GoalConfig,
        "timing": Timing,
        "reset": ResetConfig,
    }
    names = set(TaskConfig.model_fields) - set(parts)
    names |= {f"{part}.{field}" for part, config in parts.items() for field in config.model_fields}
    names |= set(ObjectReset.model_fields)
    assert {name for name in names if f"`{name}`" not in text} == set()


def test_every_part_of_the_contract_is_documented() -> None:
    text = (DOCS / "contract.md").read_text()
    assert {name for name in Contract.model_fields if f"`{name}`" not in text} == set()
