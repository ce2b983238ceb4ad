import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import demo
from benchmarks.commands import console_script, run_script
from benchmarks.policies.onnx_evaluation import HELD_OUT_SEED, evaluate_onnx, held_out_environment
from benchmarks.report.recording import record
from runtime.goals.messages import GoalPose
from sim2real.errors import ShoalError
from sim2real.tasks.goal_pool import EVALUATION_SEED_OFFSET
from sim2real.tasks.task import load_task
from tests.runtime.small_policy import write_policy


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_policy(tmp_path_factory.mktemp("policy") / "small.onnx", load_task("franka_pose").contract)


def test_a_policy_file_is_evaluated_on_physical_quantities(policy: Path) -> None:
    result, errors, goals = evaluate_onnx(policy, 16, HELD_OUT_SEED)
    assert result.episodes == 16
    assert errors.position_m.shape == (100, 16)
    # The small policy steers the position only, by the transposed Jacobian.
    assert np.median(errors.position_m[-1]) < 0.5 * np.median(errors.position_m[0])
    start = held_out_environment(load_task("franka_pose"), 16, HELD_OUT_SEED)
    np.testing.assert_array_equal(start.goals()[:, :3], goals.position)
    distance = np.linalg.norm(start.readings()["end_effector_position"] - goals.position, axis=1)
    np.testing.assert_allclose(errors.position_m[0], distance, rtol=1e-5)


def test_recorded_arm_moves_to_the_goal(policy: Path) -> None:
    goal = GoalPose(position=(0.5, 0.1, 0.45), angle_tolerance_deg=180.0)
    far = GoalPose(position=(0.3, -0.3, 0.3), position_tolerance_m=1e-6)
    recording = record(policy, [goal, far], longest_s=3.0)
    first, second = recording.visits
    assert first.reached_frame is not None
    assert second.first_frame > first.reached_frame > first.first_frame == 0
    assert second.reached_frame is None
    at = first.reached_frame
    np.testing.assert_allclose(
        np.linalg.norm(recording.tool_position[at] - goal.position), recording.distance_m[at], atol=1e-9
    )
    assert recording.distance_m[at] <= 0.05
    assert len(recording.tick_us) == len(recording.segments) == second.first_frame + 75


def test_seeds_of_training_evaluation_and_serving_lie_apart() -> None:
    seeds = np.sort([0, EVALUATION_SEED_OFFSET, HELD_OUT_SEED, demo.SERVED_SEED])
    assert np.diff(seeds).min() > 100_000


def test_an_earlier_demo_is_replaced_and_other_folders_are_left_alone(tmp_path: Path) -> None:
    foreign = tmp_path / "runs"
    (foreign / "teacher").mkdir(parents=True)
    with pytest.raises(ShoalError, match="not an earlier demo's"):
        demo.prepare(foreign)
    assert (foreign / "teacher").is_dir()
    ours = tmp_path / "demo"
    demo.prepare(ours)
    (ours / "summary.json").write_text("{}")
    (ours / "student").mkdir()
    (ours / "notes.txt").write_text("mine")
    demo.prepare(ours)
    assert sorted(path.name for path in ours.iterdir() if not path.name.startswith(".")) == ["notes.txt"]


def test_a_failed_stage_leaves_no_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = demo.Arguments(quick=True, output=tmp_path / "demo", json=tmp_path / "copy.json")
    demo.prepare(arguments.output)
    (arguments.output / "summary.json").write_text(json.dumps({"old": True}))

    def fails(name: str, *flags: str) -> None:
        raise ShoalError(f"{name} failed")

    monkeypatch.setattr(demo, "run_script", fails)
    with pytest.raises(ShoalError, match="train-teacher failed"):
        demo.run(arguments)
    assert not (arguments.output / "summary.json").exists()
    assert not arguments.json.exists()


def test_a_failing_command_is_named() -> None:
    with pytest.raises(ShoalError, match="distill failed with exit status 2"):
        run_script("distill", "--no-such-flag")
    with pytest.raises(ShoalError, match="no such command"):
        console_script("shoal-has-no-such-command")
