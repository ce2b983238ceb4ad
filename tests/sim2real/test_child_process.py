"""Children find this package and the standard library, whatever the folder holds in which they are started."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

from sim2real.child_process import python_module, python_program

ROOT = Path(__file__).resolve().parents[2]
SHADOWS = ("runtime/__init__.py", "sim2real/__init__.py", "queue.py", "runpy.py", "json.py", "mujoco.py", "types.py")


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder whose modules have the names of ours, of libraries' and of the standard library's."""
    for name in SHADOWS:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("raise SystemExit(f'{__file__} was imported')\n")
    return tmp_path


def output_of(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_module_is_found_wherever_it_is_started(hostile: Path) -> None:
    assert "Usage" in output_of(python_module("runtime.cli", "--help"), hostile).title()


def test_a_program_sees_its_arguments_and_no_neighbours(hostile: Path) -> None:
    program = "import json, queue, types, runtime.status; print(json.dumps(sys.argv[1:]))"
    assert output_of(python_program(program, "a b", "c"), hostile) == '["a b", "c"]\n'


def test_everything_starts_its_children_this_way() -> None:
    packages = ("runtime", "sim2real", "teacher", "student", "export")
    found = [
        path.name
        for package in packages
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.List | ast.Tuple)
        and [ast.unparse(part) for part in node.elts[:1]] == ["sys.executable"]
    ]
    assert set(found) == {"child_process.py", "console.py"}  # the latter starts itself again
