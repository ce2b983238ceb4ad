from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sim2real.errors import ShoalError
from teacher.checkpoint import Checkpoints
from teacher.config import TeacherConfig
from teacher.run_folder import MetricsLog, RunFolder
from tests.teacher.tiny import contract, tiny_config


def test_config_and_contract_come_back_equal(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.start(tiny_config(seed=7), contract())
    assert folder.load(TeacherConfig) == (tiny_config(seed=7), contract())


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("config.yaml", "depth: [", "the run's config: "),
        ("config.yaml", "unknown_setting: 1", "unknown_setting"),
        ("contract.json", "{}", "contract is damaged"),
    ],
)
def test_damaged_run_is_refused(file: str, text: str, words: str, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.start(tiny_config(), contract())
    (tmp_path / file).write_text(text)
    with pytest.raises(ShoalError, match=words):
        folder.load(TeacherConfig)


def test_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ShoalError, match="no run here"):
        RunFolder(tmp_path).load(TeacherConfig)


def test_resumed_metrics_drop_rows_after_the_checkpoint(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    log = MetricsLog(folder, resume_round=None)
    for number in (1, 2, 3):
        log.append({"round": number, "updates": 10 * number, "loss": float(number)})
    log.close()
    resumed = MetricsLog(folder, resume_round=2)
    resumed.append({"round": 3, "updates": 30, "loss": -1.0})
    resumed.close()
    assert [(row["round"], row["loss"]) for row in folder.read_metrics()] == [(1, 1.0), (2, 2.0), (3, -1.0)]


def test_row_that_was_cut_off_by_a_kill_does_not_stop_a_resume(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    row = json.dumps({"round": 1, "updates": 10, "loss": 0.5})
    (tmp_path / "metrics.jsonl").write_text(f'{row}\n{{"round": 2, "upda')
    MetricsLog(folder, resume_round=1).close()
    assert folder.read_metrics() == [{"round": 1, "updates": 10, "loss": 0.5}]


def world(value: float) -> dict[str, np.ndarray]:
    return {"position": np.full((2, 3), value, np.float64), "step": np.array([int(value)])}


def test_newest_checkpoint_comes_back_exactly_and_old_ones_go(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    for number in (1, 2, 3):
        checkpoints.save(number, learner={"w": np.array([number / 3], np.float32)}, world=world(number / 3))
    learner, restored = Checkpoints(tmp_path, keep=2).restore(learner={"w": np.zeros(1, np.float32)}, world=world(0))
    assert checkpoints.latest == 3
    assert not (tmp_path / "1").exists()
    np.testing.assert_array_equal(learner["w"], np.array([1.0], np.float32))
    np.testing.assert_array_equal(restored["position"], world(1.0)["position"])


def test_learner_is_read_without_the_world(tmp_path: Path) -> None:
    Checkpoints(tmp_path, keep=1).save(5, learner={"w": np.ones(2, np.float32)}, world=world(1.0))
    learner, restored = Checkpoints(tmp_path, keep=1).restore(learner={"w": np.zeros(2, np.float32)})
    np.testing.assert_array_equal(learner["w"], 1.0)
    assert restored is None


@pytest.mark.parametrize("template", [{"w": np.zeros(3, np.float32)}, {"other": np.zeros(2, np.float32)}])
def test_checkpoint_of_another_shape_is_refused(template: dict[str, np.ndarray], tmp_path: Path) -> None:
    Checkpoints(tmp_path, keep=1).save(5, learner={"w": np.ones(2, np.float32)}, world=world(1.0))
    with pytest.raises(ShoalError, match="checkpoint 5 does not fit this configuration"):
        Checkpoints(tmp_path, keep=1).restore(learner=template)


def test_half_written_checkpoint_is_ignored(tmp_path: Path) -> None:
    Checkpoints(tmp_path, keep=3).save(5, learner={"w": np.ones(2, np.float32)}, world=world(1.0))
    (tmp_path / "6.orbax-checkpoint-tmp").mkdir()
    assert Checkpoints(tmp_path, keep=3).latest == 5


def test_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ShoalError, match="no complete checkpoint"):
        Checkpoints(tmp_path, keep=1).restore(learner={"w": np.zeros(2)})
