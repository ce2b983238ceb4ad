"""A run that is killed again and again, at any moment, ends as one that was left alone."""

from __future__ import annotations

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

from teacher.run.folder import RunFolder
from teacher.trained import load_teacher
from tests.teacher.tiny import tiny_config

TRAIN_TEACHER = str(Path(sys.executable).with_name("train-teacher"))


def start(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([TRAIN_TEACHER, *arguments], stdout=subprocess.DEVNULL, start_new_session=True)


def kill_when(process: subprocess.Popen[bytes], happened: Path | None, run: Path, rounds: int) -> None:
    """SIGKILL once `rounds` rows are written, or as soon as the path exists."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if happened is not None and happened.exists():
            break
        if happened is None and len(RunFolder(run).read_metrics()) >= rounds:
            break
        time.sleep(0.0005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it should not have finished by itself"


@pytest.mark.slow
def test_killed_at_several_points(tmp_path: Path) -> None:
    """Before the first round, before the first checkpoint, right after one, and between two."""
    settings = tmp_path / "settings.yaml"
    config = tiny_config(updates=2000, updates_per_rollout=100, eval_every_rounds=5, checkpoint_every_rounds=4)
    settings.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    kill_when(start("--config-file", str(settings), "--run", str(killed)), killed / "config.yaml", killed, 0)
    for happened, rounds in ((None, 2), (killed / "checkpoints" / "4", 0), (None, 10)):
        kill_when(start("--resume", str(killed)), happened, killed, rounds)
    assert not (killed / "summary.json").exists()
    assert start("--resume", str(killed)).wait() == 0
    assert start("--config-file", str(settings), "--run", str(alone)).wait() == 0
    left, right = (load_teacher(run) for run in (killed, alone))
    jax.tree.map(np.testing.assert_array_equal, (left.actor, left.critic), (right.actor, right.critic))
    rows = [RunFolder(run).read_metrics() for run in (killed, alone)]
    assert [row["critic_loss"] for row in rows[0]] == [row["critic_loss"] for row in rows[1]]
