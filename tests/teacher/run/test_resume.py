from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from sim2real.errors import ShoalError
from teacher import cli
from teacher.run.folder import RunFolder
from teacher.run.resume import continued, differences
from teacher.train import Trainer
from teacher.trained import load_teacher
from tests.teacher.test_cli import refusal
from tests.teacher.test_train import stop_after
from tests.teacher.tiny import contract, tiny_config


def test_the_settings_that_differ_are_found_by_name() -> None:
    there, here = tiny_config(), tiny_config(seed=3, learner={"batch_size": 32})
    assert [(one.name, one.there, one.here, one.flag) for one in differences(there, here)] == [
        ("seed", 0, 3, "--seed"),
        ("learner.batch_size", 16, 32, "--batch-size"),
    ]


def test_a_run_may_become_longer_and_its_task_may_move() -> None:
    there, here = tiny_config(), tiny_config(updates=40, task="elsewhere/task.yaml")
    assert continued(there, here, run=Path("run"), length="updates") is here


def test_everything_that_contradicts_is_named_at_once() -> None:
    here = tiny_config(updates=10, seed=3, learner={"batch_size": 32})
    with pytest.raises(ShoalError) as caught:
        continued(tiny_config(), here, run=Path("run"), length="updates", others=["--run other is another folder"])
    words = str(caught.value)
    assert "--run other is another folder; --seed 3 contradicts its 0; --updates 10 is less than its 20" in words
    assert "--batch-size 32 contradicts its 16" in words


@pytest.fixture
def begun(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.start(tiny_config(), contract())
    return folder


def test_flags_that_contradict_a_resumed_run_are_refused(
    begun: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--resume", str(begun.path), "--run", str(tmp_path / "other"), "--num-envs", "8", "--updates", "5"]
    words = refusal([*given, "--width", "16"], monkeypatch, capsys)
    assert "other is another folder; --num-envs 8 contradicts its 4; --updates 5 is less than its 20; leave" in words
    assert "--width" not in words  # what says the same as the run contradicts nothing


def test_a_file_of_settings_contradicts_a_resumed_run_like_flags(
    begun: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("learner: {gamma: 0.5, batch_size: 16}\n")
    words = refusal(["--resume", str(begun.path), f"--config-file={file}"], monkeypatch, capsys)
    assert "--gamma 0.5 contradicts its None; leave" in words


def test_a_finished_run_goes_on_for_longer(
    teacher_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(shutil.copytree(teacher_run, tmp_path / "run"))
    monkeypatch.setattr(sys, "argv", ["train-teacher", "--resume", str(folder.path), "--updates", "25"])
    cli.main()
    said = capsys.readouterr().out
    assert "success coarse" in said
    # Also where no terminal is, and before the first round is over.
    assert re.search(r"^teacher franka_pose.*: compiling, then updating$", said, re.M)
    rows, summary = folder.read_metrics(), folder.read_summary()
    assert [row["updates"] for row in rows] == [5, 10, 15, 20, 25]
    assert summary["updates"] == 25
    assert summary["wall_s"] >= rows[-1]["elapsed_s"] > rows[3]["elapsed_s"] > 0
    assert load_teacher(folder.path).config.updates == 25


def test_a_run_goes_on_from_the_older_checkpoint_when_the_newest_is_damaged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(tmp_path / "run")
    stop_after(Trainer(tiny_config(checkpoint_every_rounds=1), folder), 3)
    learner = folder.checkpoints / "3" / "learner.npz"
    content = bytearray(learner.read_bytes())
    content[len(content) // 2] ^= 1
    learner.write_bytes(content)
    resumed = Trainer(tiny_config(checkpoint_every_rounds=1), folder, resume=True)
    assert resumed.round == 2
    assert "going on from checkpoint 2" in capsys.readouterr().err
    resumed.train()
    assert resumed.checkpoints.rounds == [4, 3]
    assert [row["round"] for row in folder.read_metrics()] == [1, 2, 3, 4]


@pytest.mark.parametrize("fails", ["environments", "Trainer._prefill", "Trainer._one_round"])
def test_a_first_attempt_that_fails_leaves_nothing(fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise ShoalError("MJX cannot simulate this element")

    monkeypatch.setattr(f"teacher.train.{fails}", failing)
    with pytest.raises(ShoalError, match="MJX cannot"):
        Trainer(tiny_config(), RunFolder(tmp_path / "runs" / "first")).train()
    assert not any(tmp_path.iterdir())


def test_a_summary_that_is_damaged_is_named(begun: RunFolder) -> None:
    begun.summary.write_text(json.dumps({})[:1])
    with pytest.raises(ShoalError, match=r"summary\.json: cannot be read"):
        begun.read_summary()
