from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest

from sim2real.errors import ShoalError
from teacher.config import TeacherConfig
from teacher.run.folder import MetricsLog, RunFolder
from tests.limits import limited_files
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


def start_and_fail(folder: RunFolder, *rows: dict[str, float]) -> None:
    """A run that fails after some rows of metrics."""
    with suppress(ShoalError), folder.starting(tiny_config(), contract()), MetricsLog(folder, resume_round=None) as log:
        for row in rows:
            log.append(row)
        raise ShoalError("it diverged")


def test_a_start_that_fails_leaves_nothing(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "deep" / "run")
    start_and_fail(folder)
    assert not any(tmp_path.iterdir())


def test_a_start_that_fails_keeps_what_was_there_and_what_was_learned(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    folder = RunFolder(tmp_path)
    with pytest.raises(KeyboardInterrupt), folder.starting(tiny_config(), contract()):
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    start_and_fail(folder, {"round": 1, "updates": 5})
    assert folder.holds_run


def test_a_run_comes_back_when_what_was_to_replace_it_fails(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.start(tiny_config(seed=1), contract())
    with pytest.raises(ShoalError), folder.replaced(), folder.starting(tiny_config(seed=2), contract()):
        raise ShoalError("no memory")
    assert folder.load(TeacherConfig)[0].seed == 1
    with folder.replaced(), folder.starting(tiny_config(seed=2), contract()):
        (folder.path / "metrics.jsonl").write_text('{"round": 1}\n')
    assert folder.load(TeacherConfig)[0].seed == 2
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_the_time_of_a_run_adds_up_over_its_parts(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with MetricsLog(folder, resume_round=None) as log:
        for number in (1, 2):
            log.append({"round": number, "updates": number, "elapsed_s": 100.0 * number})
    with MetricsLog(folder, resume_round=1) as log:
        assert log.elapsed_s == 100.0


def test_a_full_disk_is_a_sentence(tmp_path: Path) -> None:
    row = {"round": 1, "updates": 1} | {f"metric_{number}": 0.0 for number in range(100)}
    refused = pytest.raises(ShoalError, match=r"cannot write .*metrics\.jsonl: File too large")
    with MetricsLog(RunFolder(tmp_path), resume_round=None) as log, limited_files(1000), refused:
        log.append(row)


def test_a_damaged_row_is_named(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(b'{"round": 1}\n{"rou\xffd": 2}\n')
    with pytest.raises(ShoalError, match=r"metrics\.jsonl: damaged .*; remove the line"):
        RunFolder(tmp_path).read_metrics()


def test_task_files_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = tiny_config(task="my/task.yaml", randomisation="my/robots.yaml")
    assert config.task == str(tmp_path / "my" / "task.yaml")
    assert config.randomisation == str(tmp_path / "my" / "robots.yaml")
    assert tiny_config(task="franka_pose", randomisation="hard").task == "franka_pose"
    with pytest.raises(ShoalError, match="If it has moved, correct `task:`"):
        RunFolder(tmp_path).task(config.task)
