"""The example robot of docs/bring_your_own_robot.md works as printed."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from sim2real.backends.native import NativeEnvironment
from sim2real.contract import Contract, Frozen, Timing
from sim2real.contract.interface import observation_size
from sim2real.robots.config import RobotConfig
from sim2real.tasks.goal_pool import sample_goal_pool
from sim2real.tasks.task import Task, TaskConfig, load_task
from sim2real.terms import Action, Feature, Goal, Reading, Reset, Termination, shipped

DOCS = Path(__file__).parents[3] / "docs"


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
    assert np.all(pool.goal[:, :3] >= np.array(example.contract.goal.position_min_m, np.float32))
    assert np.all(pool.goal[:, :3] <= np.array(example.contract.goal.position_max_m, np.float32))


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
    parts: dict[str, type[Frozen]] = {"robot": RobotConfig, "timing": Timing}
    names = set(TaskConfig.model_fields) - set(parts)
    names |= {f"{part}.{field}" for part, config in parts.items() for field in config.model_fields}
    assert {name for name in names if f"`{name}`" not in text} == set()


def test_every_kind_of_term_is_documented() -> None:
    text = (DOCS / "terms.md").read_text()
    kinds = {kind for base in (Reading, Feature, Action, Goal, Reset, Termination) for kind in shipped(base)}
    assert len(kinds) > 30
    assert {kind for kind in kinds if f"`{kind}`" not in text} == set()


def test_every_part_of_the_contract_is_documented() -> None:
    text = (DOCS / "contract.md").read_text()
    assert {name for name in Contract.model_fields if f"`{name}`" not in text} == set()
