"""A reading, a goal and a termination of another package go all the way: teacher, student, file, robot, replay."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from export.write import export_student
from runtime.goals.messages import GoalRefused, GoalValues
from runtime.recording.replay import replay
from sim2real.backends.native import NativeEnvironment
from sim2real.commands.gap import gap
from sim2real.evaluation.onnx_policy import OnnxPolicy
from sim2real.evaluation.success import episode_errors
from sim2real.logs.recording import read_recording
from sim2real.stress.episodes import fly
from sim2real.tasks.goal_pool import sample_goal_pool
from sim2real.tasks.task import Task, load_task
from sim2real.terms import Reading, shipped
from student.config import DistillConfig
from student.distillation.distill import Distiller
from student.run import Student
from teacher.config import TeacherConfig
from teacher.run.folder import RunFolder
from teacher.train import Trainer
from teacher.trained import load_teacher
from tests.runtime.page.browsers import wait_until
from tests.runtime.server.test_server import PATIENCE_S, Server
from tests.sim2real.planar_arm import TASK, write_task

ROOT = Path(__file__).parents[3]
OUTSIDE = "tests.sim2real.terms.outside"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_task(
        tmp_path,
        readings=[*TASK["readings"][:3], f"{OUTSIDE}:Fold"],
        teacher_readings=[{"kind": "position", "of": "tool", "source": "simulation"}],
        goal={"kind": f"{OUTSIDE}:FoldGoal"},
        terminations=[{"kind": f"{OUTSIDE}:Stretched", "less_than_rad": 0.02}],
        timing={"physics_dt_s": 0.005, "control_dt_s": 0.05, "episode_s": 1.0},
    )


def test_states_are_over_where_the_termination_says(path: Path) -> None:
    task = load_task(path)
    env = NativeEnvironment(task, num_envs=2, seed=0, pool=sample_goal_pool(task, size=20, seed=0))
    env.place(np.arange(2), np.array([[0.2, 0.5], [0.03, 0.0]]), np.ones((2, 1)))
    over = []
    for _ in range(10):
        rollout = env.rollout_with(lambda observation, goal: np.array([[0.0, 0.0], [-1.0, 0.0]], np.float32), 1)
        over.append(rollout.terminated[0])
        assert (rollout.last == rollout.terminated).all()
    assert not np.any(over, axis=0)[0]
    assert np.any(over, axis=0)[1]


def test_an_episode_that_was_over_has_failed_and_keeps_its_errors(path: Path) -> None:
    task = load_task(path)
    env = NativeEnvironment(task, num_envs=2, seed=0, pool=sample_goal_pool(task, size=20, seed=0))
    env.place(np.arange(2), np.array([[0.2, 0.5], [0.03, 0.0]]), np.array([[0.7], [0.0]]))
    move = np.array([[0.0, 0.0], [-1.0, 0.0]], np.float32)
    rollout = env.rollout_with(lambda observation, goal: move, task.contract.timing.episode_steps)
    errors = episode_errors(task.contract, rollout)
    assert errors.coarse.tolist() == [True, False]
    assert errors.alive[-1].tolist() == [True, False]
    ended = int(np.flatnonzero(rollout.terminated[:, 1])[0])
    assert (errors.angle_deg[ended:, 1] == errors.angle_deg[ended - 1, 1]).all()


def test_from_a_yaml_to_a_policy_file(path: Path, tmp_path: Path) -> None:
    config = TeacherConfig.model_validate(
        {
            "task": str(path),
            "backend": "native",
            "num_envs": 8,
            "rollout_steps": 40,
            "updates": 4,
            "eval_envs": 8,
            "updates_per_rollout": 2,
            "replay_steps": 80,
            "learner": {"batch_size": 16},
            "network": {"actor_depth": 4, "critic_depth": 4, "width": 16, "embedding_size": 8},
        }
    )
    score = Trainer(config, RunFolder(tmp_path / "teacher")).train()
    assert score is not None
    assert score.episodes == 8
    teacher = load_teacher(tmp_path / "teacher")
    assert [reading.name for reading in teacher.networks.contract.readings][-1] == "position"
    distilled = DistillConfig.model_validate(
        {
            "rounds": 1,
            "updates_per_round": 4,
            "num_envs": 8,
            "eval_envs": 8,
            "batch_size": 16,
            "reachability_episodes": 16,
            "reachability_updates": 4,
            "student": {"hidden_width": 16, "hidden_layers": 2},
        }
    )
    distiller = Distiller(teacher, distilled, RunFolder(tmp_path / "student"))
    params, _ = distiller.run()
    student = Student(teacher.task, distiller.contract, distilled, distiller.policy, params)
    certificate = export_student(student, tmp_path / "fold.onnx", samples=200)
    assert certificate.max_abs_error < 1e-5
    policy = OnnxPolicy(tmp_path / "fold.onnx", batch=4)
    assert "position" not in [reading.name for reading in policy.contract.readings], "only the teacher was told"
    assert policy.contract.reading("fold").kind == f"{OUTSIDE}:Fold"
    task: Task = teacher.task
    env = NativeEnvironment(task, num_envs=4, seed=1, pool=sample_goal_pool(task, size=20, seed=1))
    assert fly(env, policy).action.shape == (20, 4, 2)
    record = _serve(tmp_path / "fold.onnx", path.parent / "arm.xml", tmp_path)
    gap(task=str(path), log=record, model=tmp_path / "fold.onnx", output=tmp_path / "gap")
    told = json.loads((tmp_path / "gap" / "gap.json").read_text())
    (fold,) = [signal for signal in told["signals"] if signal["name"].startswith("fold")]
    assert (fold["unit"], fold["rms"] < 0.01) == ("rad", True)
    assert told["closed_loop"] is not None


def _serve(policy: Path, mjcf: Path, folder: Path) -> Path:
    """As on a robot, by the programs themselves: serve, a goal, the recording, the replay."""
    record = folder / "run.mcap"
    more = ("--mjcf", str(mjcf), "--record", str(record), "--speed", "4", "--quiet")
    with Server(policy, folder, *more) as server:
        with server.client() as client:
            wide = GoalValues(values={"goal_fold": (0.5,)}, angle_tolerance_deg=360.0, id="fold")
            client.send_goal(wide)
            ended = client.wait_for_goal("fold", PATIENCE_S)
            assert (ended.state, ended.values) == ("reached", {"goal_fold": (0.5,)})
            assert len(client.telemetry().readings["fold"]) == 1
            with pytest.raises(GoalRefused, match=r"goal_fold=9 rad is outside its limits \[0, 4\]"):
                client.send_goal(GoalValues(values={"goal_fold": (9.0,)}))
            wait_until(lambda: client.status().ticks > 80, "a stretch long enough")
            client.stop()
        output = server.output()
        assert server.process.returncode == 0, output
    recording = read_recording(record)
    assert {len(tick["fold"]) for tick in recording.ticks} == {1}
    result = replay(record, policy, mjcf)
    assert (result.compared, result.different) == (len(recording.ticks), 0)
    return record


def test_no_second_file_knows_a_reading_by_name() -> None:
    """But for version 1 of the contract, which has to, and columns of logs."""
    files = [
        path
        for room in ("sim2real", "teacher", "student", "export")
        for path in (ROOT / room).rglob("*.py")
        if path.name != "version1.py"
    ]
    texts = {path.relative_to(ROOT).as_posix(): path.read_text() for path in files}
    for kind in shipped(Reading):
        if kind in LEFT or kind in ("position", "orientation", "sensor", "height"):  # words of the language, too
            continue
        naming = [name for name, text in texts.items() if re.search(rf"[\"']{kind}[\"']", text)]
        naming = [name for name in naming if not name.startswith(WRITERS)]
        assert len(naming) <= 1, (kind, naming)


WRITERS = ("sim2real/terms/goals/", "sim2real/terms/actions/", "sim2real/new_task/")
"""Where names are defaults of fields, and where task files are written."""
LEFT = ("joint_position", "joint_velocity", "joint_effort")
"""Logs, gap and identification hold these as columns of their own."""
