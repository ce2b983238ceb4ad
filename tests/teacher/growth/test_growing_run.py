"""Runs whose networks grow: their log, their checkpoints, and what others make of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from export.actor import convert_actor
from sim2real.errors import ShoalError
from teacher import cli
from teacher.config import TeacherConfig
from teacher.growth.stages import Stage, growths
from teacher.run.folder import RunFolder
from teacher.study.grid import StudyConfig
from teacher.train import Trainer
from teacher.trained import load_teacher
from tests.teacher.test_cli import refusal
from tests.teacher.test_train import last_checkpoint, rows_without_timing, stop_after
from tests.teacher.tiny import contract, tiny_config

NETWORK = {"depth": "auto", "block_size": 2, "width": 16, "embedding_size": 8}


def growing(**changes: Any) -> TeacherConfig:
    """Depth 2 in the first round, 4 in the second, 8 in the last two."""
    return tiny_config(**{"network": NETWORK, "growth": {"grow_at": [5, 10]}, "checkpoint_every_rounds": 1} | changes)


@pytest.fixture(scope="module")
def grown_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = RunFolder(tmp_path_factory.mktemp("runs") / "grown")
    Trainer(growing(), folder).train()
    return folder.path


def test_log_summary_and_teacher_say_how_deep_it_was_when(grown_run: Path) -> None:
    folder = RunFolder(grown_run)
    rows, summary, teacher = folder.read_metrics(), folder.read_summary(), load_teacher(grown_run)
    assert [row["depth"] for row in rows] == [2, 4, 8, 8]
    assert growths(rows) == [(5, 4), (10, 8)]
    assert (summary["actor_depth"], summary["critic_depth"]) == (8, 8)
    stages = [Stage(**stage) for stage in summary["stages"]]
    assert [(stage.depth, stage.updates) for stage in stages] == [(2, 5), (4, 5), (8, 10)]
    assert sum(stage.seconds for stage in stages) == pytest.approx(rows[-1]["elapsed_s"])
    assert "as asked for at 5 updates" in str(stages[0])
    assert teacher.stages == tuple(stages)
    assert teacher.config.network.actor_depth == teacher.config.network.critic_depth == 8
    assert teacher.parameters == summary["parameters"]


def test_a_grown_actor_is_exported_as_it_computes(grown_run: Path) -> None:
    """Blocks written out for ONNX have the same scale of branches as the scanned ones."""
    from export.actor import unrolled_actor
    from sim2real.contract.interface import policy_inputs

    teacher = load_teacher(grown_run)
    observation, goal = np.ones((2, 30), np.float32), np.ones((2, 9), np.float32)
    mean, _, _ = teacher.networks.act(teacher.actor, observation, goal)
    network_input = policy_inputs(np, teacher.contract, observation, goal)
    written_out = unrolled_actor(teacher.config.network, teacher.actor, network_input)
    np.testing.assert_allclose(np.tanh(mean), written_out, atol=1e-6)
    assert convert_actor(grown_run).graph.node


@pytest.mark.parametrize(("rounds", "every"), [(1, 1), (2, 1), (3, 2)], ids=["before", "right after", "between"])
def test_a_run_killed_around_a_growth_ends_as_if_it_had_not(
    rounds: int, every: int, grown_run: Path, tmp_path: Path
) -> None:
    folder, config = RunFolder(tmp_path / "run"), growing(checkpoint_every_rounds=every)
    stop_after(Trainer(config, folder), rounds)
    resumed = Trainer(config, folder, resume=True)
    assert resumed.network.actor_depth == {1: 4, 2: 8}[resumed.round]
    resumed.train()
    assert rows_without_timing(folder.path) == rows_without_timing(grown_run)
    left, right = (last_checkpoint(run, resumed) for run in (folder.path, grown_run))
    jax.tree.map(np.testing.assert_array_equal, left, right)


def test_progress_says_that_and_why_it_grew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(growing(updates=10, growth={"grow_at": [5]}).model_dump_json())
    run = tmp_path / "run"
    monkeypatch.setattr(sys, "argv", ["train-teacher", "--config-file", str(file), "--run", str(run)])
    cli.main()
    said = capfd.readouterr().out
    assert "depth 4 from now on, because as asked for at 5 updates" in said
    assert said.count("\ndepth ") == 2  # the curve, once it is over


def test_it_evaluates_often_enough_to_decide(tmp_path: Path) -> None:
    config = growing(growth={}, updates=12_000, updates_per_rollout=300, eval_every_rounds=10)
    assert Trainer(config, RunFolder(tmp_path / "run"))._evaluation_interval == 2
    given = config.model_copy(update={"network": tiny_config().network})
    assert Trainer(given, RunFolder(tmp_path / "given"))._evaluation_interval == 10


def test_depth_sets_both_depths_and_auto_one_block() -> None:
    def parsed(*given: str) -> tuple[int, int]:
        network = cli._parsed(list(given), TeacherConfig()).config.network
        return network.actor_depth, network.critic_depth

    assert parsed() == (16, 16)
    assert parsed("--depth", "64") == (64, 64)
    assert parsed("--depth", "auto") == (4, 4)
    assert parsed("--depth=auto", "--block-size", "2") == (2, 2)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--depth", "auto", "--actor-depth", "16"], "leave it out, or --actor-depth"),
        (["--depth=8", "--critic_depth=8", "--actor-depth=8"], "leave it out, or --actor-depth and --critic-depth"),
        (["--depth", "6"], "depth 6 is not a multiple"),
        (["--max-depth", "32"], "max_depth 32 is for --depth auto"),
        (["--depth", "auto", "--max-depth", "4"], "give --max-depth 8 or more"),
        (["--depth", "auto", "--collect-ahead"], "collect_ahead is for a depth that is given"),
        (["--depth", "auto", "--grow-at", "9", "3"], "must rise"),
    ],
)
def test_flags_that_contradict_each_other(
    given: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in refusal([*given, "--run", str(tmp_path / "run")], monkeypatch, capsys)


def test_a_resumed_run_keeps_how_it_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    RunFolder(tmp_path / "run").start(growing(), contract())
    words = refusal(["--resume", str(tmp_path / "run"), "--depth", "16"], monkeypatch, capsys)
    assert "--actor-depth 16 contradicts its 2" in words
    assert "contradicts its auto" in words


def test_a_study_has_depths_of_its_own() -> None:
    with pytest.raises((ShoalError, ValueError), match="--depth auto"):
        StudyConfig(kind="depth", grid=(2, 4), base=growing())
