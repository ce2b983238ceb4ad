"""A robot of another package: its task and its reading are found by name once it is installed, and not before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sim2real.errors import ShoalError
from sim2real.tasks.task import load_task

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "examples" / "own_package"
SCRIPT = """
from sim2real.tasks.task import load_task
from sim2real.tasks.shipped import packaged_tasks
contract = load_task("swing_reach").contract
print(packaged_tasks(), contract.task, type(contract.reading("swing_fold")).__module__)
"""


def python(script: str, *folders: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (*folders, ROOT)))}
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, cwd=folders[0], check=False
    )


def test_the_example_is_found_by_name_once_installed(tmp_path: Path) -> None:
    assert "uv_build" in (PACKAGE / "pyproject.toml").read_text()
    uv = Path(sys.executable).parent / "uv"
    command = [str(uv) if uv.exists() else "uv", "pip", "install", "--offline", "--no-deps", "--no-cache"]
    done = subprocess.run(
        [*command, "--target", str(tmp_path / "site"), str(PACKAGE)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = python(SCRIPT, tmp_path / "site")
    assert found.returncode == 0, found.stderr[-2000:]
    assert found.stdout.split("} ")[1].split() == ["swing_reach", "swing_robot.terms"]


def test_a_package_without_its_file_is_said(tmp_path: Path) -> None:
    info = tmp_path / "broken-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[shoal.tasks]\nlost = no_such_package\n")
    failed = python("from sim2real.tasks.task import load_task; load_task('lost')", tmp_path)
    assert "says 'no_such_package', and that is no package with a file lost.yaml" in failed.stderr


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ShoalError, match=r"unknown task 'swing_reach'; .*shipped tasks are ant, .*franka_pose"):
        load_task("swing_reach")
    with pytest.raises(ShoalError, match="unknown task 'ant_u4'; did you mean 'ant_u4_maze'"):
        load_task("ant_u4")
