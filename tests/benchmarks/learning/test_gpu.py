"""The GPU's pieces, at tiny size on a CPU."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.learning import gpu
from teacher.run.folder import RunFolder


@pytest.fixture
def arguments(tmp_path: Path) -> gpu.Arguments:
    return gpu.Arguments(folder=tmp_path, quick=True, json=tmp_path / "report.json")


@pytest.mark.slow
def test_a_training_stops_at_its_deadline_and_goes_on_in_the_next_call(arguments: gpu.Arguments) -> None:
    assert gpu.train("franka_reach", arguments, deadline=time.monotonic()) is None
    run = RunFolder(arguments.folder / "franka_reach_teacher")
    assert [row["round"] for row in run.read_metrics()] == [1]
    result = gpu.train("franka_reach", arguments, deadline=time.monotonic() + 600)
    assert result is not None
    assert [row["round"] for row in run.read_metrics()] == [1, 2, 3, 4]
    assert result["updates"] == 20
    assert result["hours"] > 0
    assert gpu.train("franka_reach", arguments, deadline=0.0) == result, "a finished piece is only read"


def test_work_stops_at_its_time_and_the_report_says_what_is_missing(
    arguments: gpu.Arguments, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[str] = []

    def first(deadline: float) -> dict[str, object]:
        done.append("first")
        time.sleep(0.05)
        return {"rows": [{"depth": 4, "ratio": 1.25}]}

    def never(deadline: float) -> None:
        done.append("never")

    monkeypatch.setattr(gpu, "pieces", lambda arguments: [gpu.Piece("first", first), gpu.Piece("never", never)])
    gpu.work(gpu.Arguments(folder=arguments.folder, minutes=0.04 / 60))
    gpu.work(gpu.Arguments(folder=arguments.folder, minutes=1.0))
    assert done == ["first", "never"]
    found = gpu.report(arguments)
    assert set(found) == {"first"}
    assert found["first"]["platform"] == "cpu"
    assert "not done yet" in capsys.readouterr().out
    assert json.loads((arguments.folder / "report.json").read_text()) == found


def test_the_scripts_are_there(arguments: gpu.Arguments, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], *, check: bool) -> None:
        commands.append(command)
        Path(command[-1]).write_text("{}")

    monkeypatch.setattr(subprocess, "run", run)
    for piece in gpu.pieces(arguments)[: len(gpu.SCRIPTS)]:
        assert piece.run(0.0) == {}
    for command in commands:
        module = re.search(r"run_module\('([\w.]+)'", " ".join(command))
        assert module is not None
        assert importlib.util.find_spec(module[1]) is not None, module[1]
    assert len(commands) == len(gpu.SCRIPTS)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_quick_does_every_piece(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.learning.gpu", "--quick", "--folder", str(tmp_path / "gpu")]
    subprocess.run([*command, "--json", str(tmp_path / "report.json")], check=True)
    found = json.loads((tmp_path / "report.json").read_text())
    scripts = {"compile_time", "teacher_update", "memory", "teacher_throughput"}
    assert set(found) == scripts | {"teacher_franka_reach", "student_franka_reach"}
    assert all(piece["platform"] == "cpu" and piece["machine"]["jax"] for piece in found.values())
    assert (tmp_path / "gpu" / "franka_reach_d8.onnx").is_file()
