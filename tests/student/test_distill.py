from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sim2real.backends.native import NativeEnvironment
from sim2real.errors import ContractMismatch, ShoalError
from student import cli
from student.distill import Distiller
from student.policy import greedy, make_policy
from student.run import load_student
from teacher.run_folder import RunFolder
from teacher.train import Teacher, load_teacher
from teacher.train import greedy as teacher_greedy
from tests.student.tiny import tiny_distill_config


@pytest.fixture(scope="module")
def teacher(teacher_run: Path) -> Teacher:
    return load_teacher(teacher_run)


def disagreement(teacher: Teacher, params: object) -> float:
    """Mean squared difference of the actions that teacher and student take, on the teacher's own states."""
    env = NativeEnvironment(teacher.task, num_envs=16, seed=99)
    apply = teacher_greedy(teacher.networks)
    rollout = env.rollout(apply, teacher.actor, jax.random.key(0), 40)
    observation, goal = (x.reshape(-1, x.shape[-1]) for x in (rollout.observation, rollout.goal))
    student = greedy(teacher.contract, make_policy(teacher.contract, tiny_distill_config().student))
    actions = student(params, observation, goal, None)
    return float(np.mean((np.asarray(actions) - rollout.action.reshape(-1, 7)) ** 2))


def test_student_agrees_with_the_teacher_better_than_before(
    teacher: Teacher, student_run: Path, tmp_path: Path
) -> None:
    untrained = Distiller(teacher, tiny_distill_config(), RunFolder(tmp_path))._init(jax.random.key(0)).policy
    before, after = (disagreement(teacher, params) for params in (untrained, load_student(student_run).params.policy))
    assert after < 0.5 * before


def test_run_leaves_metrics_summary_and_curves(student_run: Path, teacher: Teacher) -> None:
    rows = RunFolder(student_run).read_metrics()
    assert [row["round"] for row in rows] == [1, 2]
    assert rows[1]["loss"] < rows[0]["loss"]
    summary = json.loads((student_run / "summary.json").read_text())
    assert summary["teacher_parameters"] == teacher.parameters > summary["parameters"] > 1000
    assert {"success_coarse", "success_fine"} <= summary["teacher"].keys() & summary["student"].keys()
    assert 0 <= summary["reachability"]["auroc"] <= 1
    assert (student_run / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_loaded_student_is_calibrated_and_bound_to_the_task(student_run: Path, teacher: Teacher) -> None:
    student = load_student(student_run)
    assert student.contract.robot == teacher.contract.robot
    assert student.contract.reachability != teacher.contract.reachability  # Platt scaling was fitted
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(student.params))


def test_teacher_with_weights_that_are_not_finite_is_refused(teacher: Teacher, tmp_path: Path) -> None:
    broken = replace(teacher, actor=jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), teacher.actor))
    with pytest.raises(ShoalError, match="teacher: its weights are not finite"):
        Distiller(broken, tiny_distill_config(), RunFolder(tmp_path))


def test_loss_that_is_not_finite_stops_the_run(
    teacher: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distiller = Distiller(teacher, tiny_distill_config(), RunFolder(tmp_path))
    monkeypatch.setattr(Distiller, "_visit", lambda self, data, state, number: None)
    monkeypatch.setattr(Distiller, "_update_many", lambda self, state, data, key: (state, {"loss": jnp.nan}))
    with pytest.raises(ShoalError, match="round 1: the loss became non-finite"):
        distiller.run()
    assert not (tmp_path / "summary.json").exists()


def test_unfinished_student_is_refused(student_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(student_run, tmp_path / "run")
    (run / "task.yaml").unlink()
    with pytest.raises(ShoalError, match="did not finish"):
        load_student(run)


def test_student_of_another_robot_is_refused_naming_the_field(student_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(student_run, tmp_path / "run")
    data = json.loads((run / "contract.json").read_text())
    data["robot"]["joints"][0]["position_max_rad"] += 0.125
    (run / "contract.json").write_text(json.dumps(data))
    with pytest.raises(ContractMismatch, match=r"robot\.joints\[0\]\.position_max_rad"):
        load_student(run)


def test_teacher_digest_follows_its_weights(teacher: Teacher) -> None:
    other = replace(teacher, critic=jax.tree.map(lambda leaf: leaf + 1e-6, teacher.critic))
    copied = replace(teacher, actor=jax.tree.map(np.array, teacher.actor))
    assert teacher.digest == copied.digest
    assert teacher.digest != other.digest


def refusal(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr(sys, "argv", ["distill", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    error = capsys.readouterr().err
    assert caught.value.code == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


def test_command_refuses_a_folder_without_a_teacher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "no run here" in refusal(["--teacher", str(tmp_path)], monkeypatch, capsys)


def test_command_never_overwrites_the_teacher(
    teacher_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--teacher", str(teacher_run), "--run", f"{teacher_run}/.", "--overwrite"]
    assert "is the teacher's folder" in refusal(arguments, monkeypatch, capsys)
    assert (teacher_run / "checkpoints").is_dir()


def test_command_refuses_a_folder_that_holds_a_student(
    teacher_run: Path, student_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = refusal(["--teacher", str(teacher_run), "--run", str(student_run)], monkeypatch, capsys)
    assert "holds a run already" in error
    assert "--overwrite" in error
