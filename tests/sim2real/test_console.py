"""How command lines begin and end."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sim2real.child_process import python_module
from sim2real.cli import main
from sim2real.console import command_line

MODEL = Path(__file__).parents[2] / "models" / "franka_pose.onnx"


def test_a_path_that_the_system_refuses_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["sim2real", "check", str(tmp_path / ("n" * 300 + ".yaml"))])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "nnn" in said
    assert "File name too long" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.ELOOP])
def test_so_is_one_that_is_not_for_this_user(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), command_line():
        raise OSError(number, os.strerror(number), "/private/file")
    assert capsys.readouterr().err == f"error: cannot use /private/file: {os.strerror(number)}.\n"


def test_a_missing_file_that_nobody_guarded_stays_visible() -> None:
    with pytest.raises(FileNotFoundError), command_line():
        Path("/nowhere/at/all").read_text()


_PRINTS = """
import sys
from sim2real.console import command_line, prepare_process
prepare_process()
with command_line():
    print("nobody reads this")
    assert sys.stdout is sys.__stdout__
    with open(sys.argv[1], "w") as file:
        assert file.fileno() > 2
        file.write("whole")
"""


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error(closed: str, tmp_path: Path) -> None:
    command = ["sh", "-c", f'"$@" {closed}', "sh", sys.executable, "-c", _PRINTS, str(tmp_path / "file")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "file").read_text() == "whole"


@pytest.mark.parametrize(
    "command",
    [
        ("sim2real.cli", "diff", "franka_pose", "franka_pose"),
        ("runtime.cli", "verify", str(MODEL)),
        ("teacher.cli", "--task", "nothing"),
        ("student.cli", "--teacher", "nothing"),
        ("export.cli", "--student", "nothing"),
    ],
    ids=lambda command: command[0],
)
def test_a_misspelt_backend_breaks_no_command_that_draws_nothing(tmp_path: Path, command: tuple[str, ...]) -> None:
    done = subprocess.run(
        python_module(*command),
        cwd=tmp_path,
        env={**os.environ, "MUJOCO_GL": "misspelt"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    said = done.stdout + done.stderr
    assert "misspelt" not in said
    assert "Traceback" not in said
    assert done.returncode == (2 if "nothing" in command else 0), said
