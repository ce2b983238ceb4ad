from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
import yaml

from student.config import DistillConfig
from teacher import cli
from teacher.config import TeacherConfig
from teacher.run.folder import RunFolder
from teacher.trained import load_teacher
from tests.teacher.tiny import tiny_config

TRAIN_TEACHER = Path(sys.executable).with_name("train-teacher")


def refusal(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What `train-teacher` prints when it refuses, which must be one sentence on one line."""
    monkeypatch.setattr(sys, "argv", ["train-teacher", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    return printed.err


@pytest.mark.parametrize("flag", ["--actor-depth", "--critic-depth"])
def test_depth_of_no_whole_number_of_blocks(
    flag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = refusal([flag, "6", "--run", str(tmp_path / "run")], monkeypatch, capsys)
    assert "depth 6 is not a multiple of block_size 4; use 4 or 8" in words
    assert not (tmp_path / "run").exists()


def test_unknown_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    words = refusal(["--task", "franka_dance", "--run", str(tmp_path / "run")], monkeypatch, capsys)
    assert "franka_dance" in words
    assert "franka_pose" in words
    assert not (tmp_path / "run").exists()


def test_resume_of_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no run here" in refusal(["--resume", str(tmp_path)], monkeypatch, capsys)


def test_replay_smaller_than_a_rollout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--replay-steps", "50", "--rollout-steps", "100", "--run", str(tmp_path / "run")]
    assert "replay_steps 50 is less than rollout_steps 100" in refusal(arguments, monkeypatch, capsys)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("num_envs: 0", "num_envs"),
        ("widht: 3", "widht"),
        ("network: {actor_depth: 6}", "depth 6"),
        ("a: [", "--config"),
    ],
)
def test_damaged_config_file(
    text: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    assert words in refusal(["--config-file", str(path)], monkeypatch, capsys)


def test_flags_override_the_config_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("num_envs: 7\nlearner: {batch_size: 32}\n")
    seen: list[TeacherConfig] = []
    monkeypatch.setattr(cli, "_train", lambda arguments, folder: seen.append(arguments.config))
    monkeypatch.setattr(sys, "argv", ["train-teacher", "--config-file", str(path), "--num-envs", "9"])
    cli.main()
    assert (seen[0].num_envs, seen[0].learner.batch_size, seen[0].task) == (9, 32, TeacherConfig().task)


def start(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([TRAIN_TEACHER, *arguments], stdout=subprocess.DEVNULL, start_new_session=True)


@pytest.mark.slow
def test_killed_process_resumes_to_the_same_bits(tmp_path: Path) -> None:
    """SIGKILL in the middle of a round, then `--resume`: the parameters of a run that was left alone."""
    settings = tmp_path / "settings.yaml"
    config = tiny_config(updates=1600, updates_per_rollout=80, eval_every_rounds=5, checkpoint_every_rounds=3)
    settings.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    process = start("--config-file", str(settings), "--run", str(killed))
    deadline = time.monotonic() + 120
    while len(RunFolder(killed).read_metrics()) < 5 and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 5 <= len(RunFolder(killed).read_metrics()) < 20
    assert not (killed / "summary.json").exists()
    assert start("--resume", str(killed)).wait() == 0
    assert start("--config-file", str(settings), "--run", str(alone)).wait() == 0
    assert len(RunFolder(killed).read_metrics()) == 20
    left, right = (load_teacher(run) for run in (killed, alone))
    jax.tree.map(np.testing.assert_array_equal, (left.actor, left.critic), (right.actor, right.critic))
    scores = [json.loads((run / "summary.json").read_text())["position_error_m"] for run in (killed, alone)]
    assert scores[0] == scores[1]


def test_settings_have_their_earlier_names_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert TeacherConfig.model_validate({"wander_share": 0.25}).random_posture_share == 0.25
    assert DistillConfig.model_validate({"wild_goal_share": 0.25}).out_of_distribution_goal_share == 0.25
    assert cli._parsed(["--wander-share", "0.25"], TeacherConfig()).config.random_posture_share == 0.25
    assert cli._parsed(["--objective", "chrono", "--window", "9"], TeacherConfig()).config.learner.survival.window == 9
