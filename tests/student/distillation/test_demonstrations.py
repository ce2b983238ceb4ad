from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sim2real.child_process import python_module
from sim2real.contract.interface import goal_vector, observation_size, observe
from sim2real.errors import ContractMismatch, ShoalError
from sim2real.logs.recording import read_recording
from sim2real.tasks.task import load_task
from student.config import DistillConfig
from student.distillation.demonstrations import states_of
from student.distillation.distill import Distiller
from student.history import remember
from teacher.run.folder import RunFolder
from teacher.trained import Teacher, load_teacher
from tests.student.tiny import tiny_distill_config

MODEL = Path(__file__).parents[3] / "models" / "franka_pose.onnx"


@pytest.fixture(scope="module")
def teacher(teacher_run: Path) -> Teacher:
    return load_teacher(teacher_run)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two goals of a served arm."""
    folder = tmp_path_factory.mktemp("recording")
    (folder / "goals.yaml").write_text("- position: [0.5, 0.1, 0.4]\n- position: [0.45, -0.15, 0.5]\n")
    options = ("--model", str(MODEL), "--speed", "0", "--no-realtime", "--quiet", "--exit-after-goals")
    paths = ("--goals", "goals.yaml", "--record", "run.mcap", "--socket", "s")
    subprocess.run(python_module("runtime.cli", "serve", *options, *paths), cwd=folder, check=True)
    return folder / "run.mcap"


def test_states_are_what_the_policy_saw(recording: Path, teacher: Teacher) -> None:
    """Each tick that follows a goal, with what was commanded at the tick before as the present target."""
    contract, states = teacher.contract, states_of([recording], teacher, 0)
    ticks = read_recording(recording).ticks
    first = next(i for i, tick in enumerate(ticks) if tick["state"] in ("active", "ramp-in") and tick["goal_number"])
    for row in (0, 5):
        tick, before = ticks[first + 1 + row], ticks[first + row]
        readings = {name: np.array(tick[name]) for name in contract.measured.sizes}
        readings[contract.action.previous] = np.array(before["command"])
        np.testing.assert_allclose(states.observation[row], observe(np, contract, readings), atol=1e-5)
    assert len(states.goal) == len(states.observation) > 20
    request = np.array([0.5, 0.1, 0.4])
    np.testing.assert_allclose(states.goal[0][:3], request, atol=1e-6)
    assert len(np.unique(states.goal, axis=0)) == 2
    assert goal_vector(np, contract, np.ones(7)).shape == states.goal[0].shape


def test_memory_begins_anew_with_each_episode(recording: Path, teacher: Teacher) -> None:
    contract, steps = teacher.contract, 2
    plain, states = states_of([recording], teacher, 0), states_of([recording], teacher, steps)
    seen, size = plain.observation, observation_size(contract)
    np.testing.assert_array_equal(states.observation[:, :size], seen)
    new = int(np.flatnonzero((np.diff(plain.goal, axis=0) != 0).any(axis=1))[0]) + 1
    history = states.observation[:, size:]
    assert not history[0].any()
    assert not history[new].any()
    np.testing.assert_array_equal(history[1], remember(contract, steps, seen[0], history[0]))
    np.testing.assert_array_equal(history[2], remember(contract, steps, seen[1], history[1]))


def test_the_teacher_labels_them_in_every_round(recording: Path, teacher: Teacher, tmp_path: Path) -> None:
    count = len(states_of([recording], teacher, 0).goal)
    network = tiny_distill_config().student.model_copy(update={"history_steps": 1})
    settings = {"rounds": 1, "updates_per_round": 5, "student": network}
    filled, rows = [], []
    for given in ((), (recording,)):
        config = tiny_distill_config(**settings, demonstrations=given, dataset_size=8192)
        distiller = Distiller(teacher, config, RunFolder(tmp_path / str(len(given))))
        distiller.train()
        filled.append(int(distiller.data.filled))
        rows.append(distiller.data)
    assert filled[1] - filled[0] == count
    visited = filled[0]
    np.testing.assert_array_equal(rows[0].inputs[:visited], rows[1].inputs[:visited])
    assert np.asarray(rows[1].labels.mean[visited : filled[1]]).std() > 0


def test_paths_are_kept_from_where_they_were_given(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(recording.parent)
    config = DistillConfig.model_validate({"demonstrations": ["run.mcap"]})
    assert DistillConfig.model_validate(config.model_dump(mode="json")).demonstrations == (recording.resolve(),)


def told_more(task: str) -> Any:
    """A teacher of a task, as far as recordings are concerned."""
    loaded = load_task(task)
    return SimpleNamespace(contract=loaded.contract, networks=SimpleNamespace(contract=loaded.teacher_contract))


def test_what_the_teacher_cannot_judge_is_refused(recording: Path, teacher: Teacher, tmp_path: Path) -> None:
    with pytest.raises(
        ShoalError, match=r"do not hold base_linear_velocity, height, .*, phase_clock, which this teacher has to see"
    ):
        states_of([recording], told_more("quadruped_walk"), 0)
    reach = load_task("franka_reach").contract
    with pytest.raises(ContractMismatch, match=r"run\.mcap were made for different robots or tasks"):
        states_of([recording], replace(teacher, contract=reach), 0)
    with pytest.raises(ShoalError, match="no file at"):
        states_of([tmp_path / "none.mcap"], teacher, 0)
