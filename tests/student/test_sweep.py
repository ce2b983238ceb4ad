from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from sim2real.errors import ShoalError
from student import cli, pipeline, sweep
from student.sweep import network_of
from teacher.run.folder import RunFolder
from tests.student.tiny import tiny_distill_config


def test_sizes_are_read_and_nonsense_is_refused() -> None:
    network = network_of("3x48-relu-plain")
    assert (network.hidden_layers, network.hidden_width, network.activation, network.layer_norm) == (
        3,
        48,
        "relu",
        False,
    )
    assert network_of("1x32").activation == "swish"
    for wrong in ("2x", "0x32", "2x64-tanh", "64"):
        with pytest.raises(ShoalError, match=f"--grid: '{wrong}' is no size"):
            network_of(wrong)


def test_front_holds_what_nothing_beats() -> None:
    rows = [{"tick_us_p50": t, "success_fine": s} for t, s in ((10, 0.5), (20, 0.9), (30, 0.8), (40, 0.95))]
    sweep._mark_pareto(rows)
    assert [row["pareto"] for row in rows] == [True, True, False, True]


@pytest.mark.slow
def test_sweep_distils_measures_draws_and_reads_what_is_there(
    teacher_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    config = tiny_distill_config(updates_per_round=20)
    arguments = sweep.Arguments(teacher_run, ("1x16", "2x16-relu-plain"), tmp_path, config=config)
    rows = sweep.run(arguments)
    assert [row["policy"] for row in rows] == ["1x16", "2x16-relu-plain", "run 4x16"]
    assert rows[0]["parameters"] < rows[1]["parameters"] < rows[2]["parameters"]
    assert all(row["tick_us_p50"] > 0 and 0 <= row["success_fine"] <= 1 for row in rows)
    assert rows[2]["flops"] > 2 * rows[2]["parameters"] * 0.8
    assert json.loads((tmp_path / "sweep.json").read_text()) == rows
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert "report in" in capfd.readouterr().out
    assert (tmp_path / "1x16" / "report.html").is_file()
    monkeypatch.setattr(pipeline, "begin", lambda *_: pytest.fail("distilled again"))
    monkeypatch.setattr(pipeline, "go_on", lambda *_, **__: pytest.fail("resumed"))
    again = sweep.run(arguments)
    timed = dict.fromkeys(("tick_us_p50", "tick_us_p99", "pareto"))
    assert [row | timed for row in again] == [row | timed for row in rows]
    assert RunFolder(tmp_path / "1x16").read_metrics()


def test_other_settings_than_those_of_the_students_that_are_there_are_refused(
    student_run: Path, teacher_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(student_run, tmp_path / "2x32")
    other = sweep.Arguments(teacher_run, ("2x32",), tmp_path, config=tiny_distill_config(rounds=1, seed=3))
    with pytest.raises(ShoalError, match=r"2x32: .* --seed 3 contradicts its 0; --rounds 1 is less than its 2"):
        sweep.run(other)


def test_command_line_reaches_the_sweep(
    teacher_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["distill", "sweep", "--teacher", str(teacher_run), "--grid", "0x1", "--folder", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", given)
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().err.startswith("error: --grid: '0x1' is no size")
