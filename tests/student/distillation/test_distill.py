from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from sim2real.backends.native import NativeEnvironment
from sim2real.contract.interface import goal_size, observation_size, policy_inputs
from sim2real.errors import ContractMismatch, ShoalError
from sim2real.progress import Progress
from student import cli, pipeline
from student.distillation.collect import Collector
from student.distillation.distill import TRAINING, Distiller
from student.policy import greedy, make_policy
from student.run import Source, load_student
from teacher.policies import greedy as teacher_greedy
from teacher.run.folder import RunFolder
from teacher.trained import Teacher, load_teacher
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
    monkeypatch.setattr(Distiller, "_update_many", lambda self, state, data, key, number: (state, {"loss": jnp.nan}))
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
    data["robot"]["joints"][0]["position_max"] += 0.125
    (run / "contract.json").write_text(json.dumps(data))
    with pytest.raises(ContractMismatch, match=r"robot\.joints\[0\]\.position_max"):
        load_student(run)


def test_teacher_digest_follows_its_weights(teacher: Teacher) -> None:
    other = replace(teacher, critic=jax.tree.map(lambda leaf: leaf + 1e-6, teacher.critic))
    copied = replace(teacher, actor=jax.tree.map(np.array, teacher.actor))
    assert teacher.digest == copied.digest
    assert teacher.digest != other.digest


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, marks=pytest.mark.slow),  # less than the other one
        {
            "randomisation": "hard",
            "true_labels": True,
            "student": {"hidden_layers": 1, "hidden_width": 16, "history_steps": 2},
        },
    ],
    ids=["plain", "pushed, late, remembering"],
)
def test_interrupted_distillation_goes_on_to_the_same_numbers(
    teacher: Teacher, tmp_path: Path, changes: dict[str, Any]
) -> None:
    config = tiny_distill_config(
        rounds=4, checkpoint_every_rounds=2, hard_goal_share=0.5, relational_weight=0.1, updates_per_round=20, **changes
    )
    whole = Distiller(teacher, config, RunFolder(tmp_path / "whole"))
    whole.train(until=3)
    # Killed during round 4: the checkpoint of round 2 is the newest, the log has a row more.
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    whole.train()
    again = Distiller(teacher, config, RunFolder(tmp_path / "cut"), resume=True)
    assert again.round == 2
    again.train()
    cut, uncut = (RunFolder(tmp_path / name).read_metrics() for name in ("cut", "whole"))
    timing = {"round_s": 0, "elapsed_s": 0}
    assert [row | timing for row in cut] == [row | timing for row in uncut]
    for left, right in zip(jax.tree.leaves(whole.state), jax.tree.leaves(again.state), strict=True):
        np.testing.assert_array_equal(left, right)


def test_randomisation_reaches_the_robots_that_the_student_learns_on(teacher: Teacher, tmp_path: Path) -> None:
    distiller = Distiller(teacher, tiny_distill_config(randomisation="hard"), RunFolder(tmp_path / "hard"))
    for env in (distiller.collector.env, distiller.eval_env):
        assert isinstance(env, NativeEnvironment)
        assert env.robots is not None
        assert {"push_force_n", "payload_mass_kg", "observation_delay_s"} <= set(env.robots.draws.active)
    plain = Distiller(teacher, tiny_distill_config(), RunFolder(tmp_path / "plain"))
    assert isinstance(plain.collector.env, NativeEnvironment)
    assert plain.collector.env.robots is None
    with pytest.raises(ShoalError, match="randomisation: 'wild' is neither a preset"):
        Distiller(teacher, tiny_distill_config(randomisation="wild"), RunFolder(tmp_path / "wild"))


def test_run_without_data_is_refused() -> None:
    for name in ("rounds", "num_envs", "dataset_size"):
        with pytest.raises(ValidationError, match=name):
            tiny_distill_config(**{name: 0})


def test_teacher_that_changed_since_is_refused(teacher: Teacher, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    Source(teacher=Path("runs/teacher"), digest=teacher.digest).write(folder)
    Source.read(folder).require(teacher)
    other = replace(teacher, critic=jax.tree.map(lambda leaf: leaf + 1e-6, teacher.critic))
    with pytest.raises(ShoalError, match="weights have changed since this distillation began"):
        Source.read(folder).require(other)


@pytest.mark.parametrize(
    ("states", "betas"), [("student", [1, 0.5, 0]), ("teacher", [1, 1, 1]), ("mixture", [0.3] * 3)]
)
def test_share_of_the_teachers_actions(teacher: Teacher, states: str, betas: list[float]) -> None:
    config = tiny_distill_config(states=states, beta_rounds=2, mixture_share=0.3)
    collector = Collector(teacher, None, NativeEnvironment(teacher.task, num_envs=2, seed=0), config)
    assert [collector.beta(number) for number in range(3)] == betas


def test_hard_goals_come_back(teacher: Teacher) -> None:
    config = tiny_distill_config(hard_goal_share=1.0)
    env = NativeEnvironment(teacher.task, num_envs=8, seed=0)
    policy = make_policy(teacher.contract, config.student)
    params = policy.init(jax.random.key(0), jnp.zeros((1, policy_inputs_size(teacher))))
    collector = Collector(teacher, greedy(teacher.contract, policy), env, config)
    hard = env.goals().copy()
    collector.visit(params, 0)
    assert collector.state_dict()["error"].min() > 0
    collector._error = np.eye(8)[5]  # all the error lies on arm 5's goal
    collector.visit(params, 1)
    np.testing.assert_array_equal(collector.state_dict()["goals"], np.tile(hard[5], (8, 1)))


def policy_inputs_size(teacher: Teacher) -> int:
    contract = teacher.contract
    blank = (np.zeros((1, size(contract))) for size in (observation_size, goal_size))
    return policy_inputs(np, contract, *blank).shape[-1]


def unfinished(student_run: Path, run: Path) -> RunFolder:
    """A copy of a student's run as one that was interrupted leaves it."""
    shutil.copytree(student_run, run)
    (run / "task.yaml").unlink()
    return RunFolder(run)


def test_command_resumes_only_with_the_same_teacher(
    student_run: Path,
    teacher_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = unfinished(student_run, tmp_path / "run")
    resume = ["--run", str(folder.path), "--resume"]
    assert "source.yaml: missing" in refusal(resume, monkeypatch, capsys)
    Source(teacher=teacher_run, digest="0" * 64).write(folder)
    assert "have changed" in refusal(resume, monkeypatch, capsys)
    assert "have changed" in refusal([*resume, "--teacher", str(teacher_run)], monkeypatch, capsys)
    assert "no run here" in refusal([*resume, "--teacher", str(tmp_path)], monkeypatch, capsys)
    assert "name the folder of a teacher" in refusal(["--run", str(folder.path)], monkeypatch, capsys)


def test_flags_that_contradict_a_resumed_distillation_are_refused(
    student_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = unfinished(student_run, tmp_path / "run")
    given = [
        "--run",
        str(folder.path),
        "--resume",
        "--overwrite",
        "--rounds",
        "1",
        "--seed",
        "4",
        "--hidden-width",
        "8",
    ]
    words = refusal(given, monkeypatch, capsys)
    for contradiction in (
        "--overwrite would replace it",
        "--rounds 1 is less than its 2",
        "--seed 4 contradicts its 0",
        "--hidden-width 8 contradicts its 32",
    ):
        assert contradiction in words


def test_a_finished_student_cannot_become_longer(
    student_run: Path,
    teacher_run: Path,
    tmp_path: Path,
    teacher: Teacher,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = RunFolder(shutil.copytree(student_run, tmp_path / "run"))
    shutil.rmtree(folder.path / TRAINING, ignore_errors=True)
    Source(teacher=teacher_run, digest=teacher.digest).write(folder)
    words = refusal(["--run", str(folder.path), "--resume", "--rounds", "4"], monkeypatch, capsys)
    assert "--rounds 4: this student is finished after 2" in words


def test_an_interrupted_distillation_goes_on_for_longer(teacher: Teacher, teacher_run: Path, tmp_path: Path) -> None:
    config = tiny_distill_config(checkpoint_every_rounds=1, updates_per_round=10)
    folder = RunFolder(tmp_path)
    folder.start(config, teacher.contract)
    Source(teacher=teacher_run, digest=teacher.digest).write(folder)
    Distiller(teacher, config, folder).train(until=1)
    longer = config.model_copy(update={"rounds": 3})
    pipeline.go_on(folder, longer, Progress("student", quiet=True))
    rows, summary = folder.read_metrics(), folder.read_summary()
    assert [row["round"] for row in rows] == [1, 2, 3]
    assert summary["wall_s"] > rows[-1]["elapsed_s"] > rows[0]["elapsed_s"] > 0
    assert (folder.path / "report.html").is_file()
    assert load_student(folder.path).config.rounds == 3


def test_a_failed_start_leaves_nothing_and_what_it_was_to_replace(
    teacher_run: Path, student_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise ShoalError("no memory")

    monkeypatch.setattr(Distiller, "_round", failing)
    quiet = Progress("student", quiet=True)
    with pytest.raises(ShoalError, match="no memory"):
        pipeline.begin(teacher_run, RunFolder(tmp_path / "deep" / "run"), tiny_distill_config(), quiet)
    assert not any(tmp_path.iterdir())
    run = RunFolder(shutil.copytree(student_run, tmp_path / "run"))
    with pytest.raises(ShoalError, match="no memory"):
        pipeline.begin(teacher_run, run, tiny_distill_config(seed=5), quiet, replace=True)
    assert load_student(run.path).config.seed == 0
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_the_folder_around_the_teacher_is_never_replaced(teacher_run: Path) -> None:
    quiet = Progress("student", quiet=True)
    with pytest.raises(ShoalError, match="the teacher lies inside"):
        pipeline.begin(teacher_run, RunFolder(teacher_run.parent), tiny_distill_config(), quiet, replace=True)


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


def test_command_refuses_a_teacher_of_another_contract(
    teacher_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(teacher_run, tmp_path / "teacher")
    data = json.loads((run / "contract.json").read_text())
    data["robot"]["joints"][0]["stiffness"] = 123.5
    (run / "contract.json").write_text(json.dumps(data))
    error = refusal(["--teacher", str(run), "--run", str(tmp_path / "student")], monkeypatch, capsys)
    assert "robot.joints[0].stiffness: 123.5" in error
    assert not (tmp_path / "student").exists()


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
