"""What README promises is run, and what ships is what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.policies.onnx_evaluation import evaluate_onnx, policy_targets
from benchmarks.policies.walking import walk
from runtime import Policy
from sim2real.contract import require_same_interface
from sim2real.tasks.shipped import task_names
from sim2real.tasks.task import load_task

_ROOT = Path(__file__).parent.parent
_README = (_ROOT / "README.md").read_text()
_MODELS = sorted((_ROOT / "models").glob("*.onnx"))


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", _README, flags=re.DOTALL)


def test_readme_gives_the_two_commands_and_links_only_to_files_that_exist() -> None:
    commands = "\n".join(_blocks("console"))
    assert "make demo" in commands
    assert "make test" in commands
    for target in re.findall(r"(?:\]\(|src=\")([^)#\"]+)", _README):
        if not target.startswith("https://"):
            assert (_ROOT / target).is_file(), target


def test_readme_stays_a_screen_and_a_half() -> None:
    """Rows of text, and pictures beside: what is longer belongs into the documentation."""
    assert len(_README.splitlines()) <= 63
    assert all(len(line) < 97 for block in _blocks("console") for line in block.splitlines()), "a block that scrolls"
    assert [line for line in _README.splitlines() if line.startswith("## ")] == [
        "## From nothing to a robot",
        "## How it hangs together",
        "## Six numbers",
        "## What else you could use",
        "## What it cannot do yet",
    ]
    numbers = _README.partition("## Six numbers")[2].partition("## ")[0]
    assert len(re.findall(r"^- \*\*[^*]*\d[^*]*\*\*", numbers, flags=re.MULTILINE)) == 6


@pytest.mark.parametrize("path", [p for p in _MODELS if p.stem != "quadruped_walk"], ids=lambda path: path.stem)
def test_shipped_policies_fit_todays_tasks_and_reach_their_goals(path: Path) -> None:
    policy = Policy(path)
    task = load_task(policy.contract.task)
    require_same_interface(policy.contract, task.contract, left_name=path.name, right_name="the task today")
    score, _, _ = evaluate_onnx(path, 64, 123)
    coarse, fine = (0.95, 0.9) if task.contract.tracked is None else (0.88, 0.8)
    assert score.success_coarse >= coarse
    assert score.success_fine >= fine


def test_the_shipped_quadruped_walks_to_goals_one_to_three_metres_away() -> None:
    """An episode of its task is too short for the farthest goals."""
    task, targets = policy_targets(_ROOT / "models" / "quadruped_walk.onnx", rows=48)
    found = walk(task, targets, goals=48, nearest_m=1.0, distance_m=3.0, seed=123)
    assert found.arrived >= 0.88
    assert found.fell <= 0.02
    assert found.final_distance_m < 0.1


UNTRAINED = {
    "ant_big_maze",
    "ant_hardest_maze",
    "ant_u4_maze",
    "ant_u5_maze",
    "arm_binpick_hard",
    "arm_push_easy",
    "arm_push_hard",
    "arm_reach",
    "gripper_pick",
    "humanoid",
    "humanoid_big_maze",
    "humanoid_u_maze",
    "mobile_base_maze",
    "swimmer",
}
"""Tasks whose policy is not shipped yet."""


def test_every_shipped_task_has_a_shipped_policy() -> None:
    assert {path.stem for path in _MODELS} | UNTRAINED == set(task_names())
