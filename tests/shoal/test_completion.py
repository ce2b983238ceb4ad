"""What a shell completes, asked of bash itself. Each program's script takes a process and seconds."""

from __future__ import annotations

import ast
import inspect
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from export.cli import Arguments as export
from runtime.commands.safety import Chaos
from runtime.drivers.base import DRIVERS
from runtime.options import ServeOptions
from shoal import completion
from sim2real.commands.gap import gap
from sim2real.commands.identify import excite, identify
from sim2real.commands.stress import stress
from sim2real.errors import ShoalError
from sim2real.tasks.shipped import task_names
from student.cli import Arguments as student
from student.sweep import Arguments as sweep
from teacher.cli import Arguments as teacher
from teacher.study.cli import Arguments as study
from teacher.study.grid import Kind

ROOT = Path(__file__).parents[2]
PROGRAMS = ("train-teacher", "runtime", "sim2real", "shoal-demo")
FUNCTION = """
complete_line() {
  COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
  "$(complete -p "$1" | sed 's/.*-F \\([^ ]*\\).*/\\1/')"
  printf '%s\\n' "${COMPREPLY[@]}"
}
complete_line "$@"
"""
Complete = Callable[..., list[str]]


@pytest.fixture(scope="module")
def scripts() -> dict[str, str]:
    """Of every program, with one of the studies."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(completion._OWN_SUBCOMMANDS, "train-teacher", (("study", "depth"),))
        return {program: completion.script(program, "bash") for program in PROGRAMS}


@pytest.fixture(scope="module")
def complete(scripts: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Complete:
    if shutil.which("bash") is None:
        pytest.skip("there is no bash here")
    folder = tmp_path_factory.mktemp("completion")
    (folder / "script.bash").write_text("\n".join(scripts.values()) + FUNCTION)
    (folder / "my_task.yaml").touch()

    def complete(*words: str) -> list[str]:
        done = subprocess.run(
            ["bash", "script.bash", *words], cwd=folder, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.split()

    return complete


def test_names_of_what_there_is(complete: Complete) -> None:
    assert complete("train-teacher", "--task", "") == task_names()
    assert complete("train-teacher", "study", "depth", "--task", "humanoid_") == [
        "humanoid_big_maze",
        "humanoid_u_maze",
    ]
    assert complete("runtime", "serve", "--robot", "") == [*DRIVERS]
    assert complete("runtime", "serve", "--randomisation", "h") == ["hard"]
    assert complete("sim2real", "show", "gripper_") == ["gripper_pick", "gripper_push"]
    assert complete("shoal-demo", "quad") == ["quadruped_walk"]
    assert "joint_velocity" in complete("sim2real", "identify", "--signals", "")


def test_files_where_no_name_begins_so(complete: Complete) -> None:
    assert complete("train-teacher", "--task", "my") == ["my_task.yaml"]
    assert complete("runtime", "serve", "--model", "my") == ["my_task.yaml"]
    assert complete("runtime", "replay", "my") == ["my_task.yaml"]


def test_subcommands_and_options(complete: Complete) -> None:
    assert complete("runtime", "pol") == ["policy-server"]
    assert complete("train-teacher", "stu") == ["study"]
    assert complete("train-teacher", "study", "")[:1] == ["depth"]
    assert complete("sim2real", "show", "ant", "--js") == ["--json"]


def test_every_study_is_completed() -> None:
    assert [kind for _, kind in completion._OWN_SUBCOMMANDS["train-teacher"]] == [*get_args(Kind)]


def test_zsh_gets_the_same_names() -> None:
    text = completion.script("sim2real", "zsh")
    spec = completion._spec_in(text)
    (task,) = (option for option in spec["subcommands"]["gap"]["options"] if option["flags"] == ["--task"])
    assert task["choices"] == task_names()
    assert completion._OR_FILES in text
    ast.parse(text[text.index("COMPLETION_SPEC = ") : text.index("\nPYTHON_EOF")])


@pytest.mark.parametrize("kind", [teacher, study, student, sweep, export, ServeOptions, Chaos, stress])
def test_long_commands_can_be_quiet_and_write_json(kind: Callable[..., Any]) -> None:
    assert {"quiet", "json"} <= {*inspect.signature(kind).parameters}


@pytest.mark.parametrize("command", [identify, excite, gap])
def test_long_commands_that_write_a_folder_or_a_file_can_be_quiet(command: Callable[..., None]) -> None:
    assert {"quiet", "output"} <= {*inspect.signature(command).parameters}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["bash", "trane"], "no program 'trane'; .*train-teacher"),
        (["zsh"], "zsh wants a file for each program"),
    ],
)
def test_what_cannot_be_completed_is_one_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        completion.main(arguments)
    (said,) = capsys.readouterr().err.splitlines()
    assert re.search(sentence, said)


def test_a_program_that_cannot_be_loaded_is_left_out_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "programs", lambda: {"train-teacher": "no_such_module:main"})
    with pytest.raises(ShoalError, match=r"train-teacher cannot be completed here \(ModuleNotFoundError"):
        completion.script("train-teacher", "bash")
