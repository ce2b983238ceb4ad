"""From nothing to a policy file, through the commands that a user types."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.student.tiny import tiny_distill_config
from tests.teacher.tiny import tiny_config

pytestmark = pytest.mark.timeout(1800)


def flags(settings: dict[str, Any]) -> list[str]:
    """Settings as a user types them."""
    words: list[str] = []
    for name, value in settings.items():
        words += flags(value) if isinstance(value, dict) else [f"--{name.replace('_', '-')}", str(value)]
    return words


# The programs of the other tests' tiny runs, which need not be compiled again.
TEACHER = flags(tiny_config().model_dump(exclude_unset=True))
STUDENT = flags(tiny_distill_config().model_dump(exclude_unset=True))


def command(name: str, *arguments: str | Path) -> str:
    """Run a console script of this environment and return what it prints."""
    line = [Path(sys.executable).with_name(name), *arguments]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a teacher's run, a student's run, and the student's policy file."""
    path = tmp_path_factory.mktemp("pipeline")
    printed = command("train-teacher", "--run", path / "teacher", "--json", path / "teacher.json", *TEACHER)
    assert "success coarse" in printed
    quiet = ("--quiet", "--json", path / "student.json")
    printed = command("distill", "--teacher", path / "teacher", "--run", path / "student", *quiet, *STUDENT)
    assert "student: success coarse" in printed
    assert "max error" in printed
    file = path / "student" / "student.onnx"
    assert [line.split()[0] for line in printed.splitlines()] == ["student:", f"{file}:"], printed
    return path


@pytest.fixture(scope="module")
def session(folder: Path) -> Any:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime.InferenceSession(str(folder / "student" / "student.onnx"), providers=["CPUExecutionProvider"])


def test_both_runs_are_complete(folder: Path) -> None:
    rows = (folder / "teacher" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["round"] for row in rows] == [1, 2, 3, 4]
    for run in ("teacher", "student"):
        for name in ("config.yaml", "contract.json", "summary.json", "curves.png"):
            assert (folder / run / name).stat().st_size > 0
        summary = json.loads((folder / run / "summary.json").read_text())
        assert json.loads((folder / f"{run}.json").read_text()) == summary


def test_policy_file_answers_with_commands_and_a_probability(session: Any) -> None:
    inputs = {value.name: np.zeros((1, value.shape[1]), np.float32) for value in session.get_inputs()}
    for name in ("end_effector_orientation", "goal_orientation"):
        inputs[name][0, 0] = 1.0
    command, reachability = session.run(["joint_position_command", "reachability"], inputs)
    assert command.shape == (1, 7)
    assert np.isfinite(command).all()
    assert 0 <= float(reachability[0, 0]) <= 1


def test_policy_file_says_where_it_comes_from(folder: Path, session: Any) -> None:
    contract = json.loads(session.get_modelmeta().custom_metadata_map["shoal.contract"])
    teacher = json.loads((folder / "teacher" / "contract.json").read_text())
    assert contract["robot"] == teacher["robot"]
    assert contract["lineage"]["teacher_depth"] == 4
    assert contract["lineage"]["student"] == "student"
    assert len(contract["lineage"]["teacher"]) == 16


@pytest.mark.slow
def test_student_exports_again_to_the_same_graph(folder: Path, tmp_path: Path) -> None:
    command("export-onnx", "--student", folder / "student", "-o", tmp_path / "again.onnx")
    first, again = (onnx.load(str(path)) for path in (folder / "student" / "student.onnx", tmp_path / "again.onnx"))
    assert first.graph == again.graph


@pytest.mark.slow
def test_goals_about_an_object_go_the_same_way(tmp_path: Path) -> None:
    planar = Path(__file__).parents[1] / "benchmarks" / "tasks" / "planar_push.yaml"
    printed = command("train-teacher", "--run", tmp_path / "teacher", *TEACHER, "--task", str(planar))
    assert "success coarse" in printed
    command("distill", "--teacher", tmp_path / "teacher", "--run", tmp_path / "student", *STUDENT)
    file = tmp_path / "student" / "student.onnx"
    names = [value.name for value in onnx.load(file).graph.input]
    assert "object_position" in names
    assert "puck" in command("runtime", "inspect", str(file))
