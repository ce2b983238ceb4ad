from __future__ import annotations

import csv
import json
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim2real.errors import ShoalError
from teacher import cli
from teacher.run.folder import RunFolder
from teacher.study import runner
from teacher.study.analysis import critical_depth, growth_exponent, summarise
from teacher.study.cli import Arguments, run
from teacher.study.grid import Cell, StudyConfig, cells
from teacher.study.runner import opened
from tests.teacher.tiny import contract, tiny_config


def study(**settings: Any) -> StudyConfig:
    return StudyConfig.model_validate({"kind": "depth", "grid": (2, 4), "base": tiny_config()} | settings)


def result(depth: int, coarse: float, seed: int = 0, **others: Any) -> dict[str, Any]:
    point = {"actor_depth": depth, "critic_depth": depth, "width": 8, "batch_size": 16, "seed": seed}
    scores = {"success_fine": 0.0, "time_at_goal": 0.0, "position_error_m": 0.1, "angle_error_deg": 1.0}
    return point | scores | {"success_coarse": coarse, "parameters": 100 * depth, "update_s": 1.0, "wall_s": 1} | others


def test_cells_of_every_kind() -> None:
    depth = cells(study(seeds=2))
    assert [(c.config.network.actor_depth, c.config.network.critic_depth, c.config.seed) for c in depth] == [
        (2, 2, 0),
        (2, 2, 1),
        (4, 4, 0),
        (4, 4, 1),
    ]
    assert [c.config.network.width for c in cells(study(kind="width", grid=(32, 8)))] == [8, 32]
    batch = cells(study(kind="batch", grid=(16, 32), depths=(2, 4)))
    assert [(c.config.learner.batch_size, c.config.network.critic_depth) for c in batch] == [
        (16, 2),
        (16, 4),
        (32, 2),
        (32, 4),
    ]
    both = cells(study(kind="actor-critic"))
    assert {(c.config.network.actor_depth, c.config.network.critic_depth) for c in both} == {
        (2, 2),
        (2, 4),
        (4, 2),
        (4, 4),
    }
    for made in (depth, batch, both):
        assert len({cell.name for cell in made}) == len(made)
        assert all(cell.config.updates == tiny_config().updates for cell in made)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"grid": (2, 5)}, "depth 5 is not a multiple of block_size 2"),
        ({"kind": "batch", "grid": (16,), "depths": (3,)}, "depth 3 is not a multiple"),
    ],
)
def test_impossible_cells_are_refused_before_anything_runs(
    settings: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ShoalError, match=words), opened(study(**settings), tmp_path):
        pass
    assert not any(tmp_path.iterdir())


def begun(made: list[Cell], folder: Path) -> None:
    for cell in made:
        RunFolder(folder / cell.name).start(cell.config, contract())


def test_a_study_may_grow_but_not_change(tmp_path: Path) -> None:
    with opened(study(), tmp_path) as made:
        begun(made, tmp_path)
    with opened(study(grid=(2, 4, 8), seeds=2, base=tiny_config(updates=40)), tmp_path) as made:
        assert len(made) == 6
    changed = study(kind="width", base=tiny_config(updates=20, num_envs=8))
    words = r"kind is 'depth' there and 'width' here; base\.num_envs is 4 there and 8 here; base\.updates is 40 there"
    with pytest.raises(ShoalError, match=words), opened(changed, tmp_path):
        pass


def test_a_study_in_which_no_run_has_begun_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ShoalError, match="no room"), opened(study(), tmp_path / "deep" / "study"):
        raise ShoalError("no room")
    assert not any(tmp_path.iterdir())
    with suppress(ShoalError), opened(study(), tmp_path / "study") as made:
        begun(made[:1], tmp_path / "study")
        raise ShoalError("no room")
    assert (tmp_path / "study" / "study.yaml").is_file()


def test_only_missing_cells_run(tmp_path: Path, teacher_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finished run is read, an interrupted one resumed, a missing one begun."""
    started: list[tuple[str, bool]] = []

    class Recorded:
        def __init__(self, config: Any, folder: Any, *, resume: bool, progress: Any) -> None:
            started.append((folder.path.name, resume))
            self.folder = folder

        def train(self) -> None:
            shutil.copytree(teacher_run, self.folder.path, dirs_exist_ok=True)

    monkeypatch.setattr("teacher.train.Trainer", Recorded)
    made = cells(study(grid=(2, 4, 8)))
    shutil.copytree(teacher_run, tmp_path / made[0].name)
    shutil.copytree(teacher_run, tmp_path / made[1].name)
    (tmp_path / made[1].name / "summary.json").unlink()
    results = runner.run_here(made, tmp_path)
    assert started == [(made[1].name, True), (made[2].name, False)]
    assert [row["actor_depth"] for row in results] == [4, 4, 4]  # what the copied summaries say


def test_a_whole_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two tiny depths, trained for real; again it only reads."""
    base = tiny_config(updates=10, eval_every_rounds=2)
    arguments = Arguments(kind="depth", grid=(2, 4), folder=tmp_path, config=base)
    rows = run(arguments)
    assert [row["actor_depth"] for row in rows] == [2, 4]
    assert rows[0]["parameters"] < rows[1]["parameters"]
    with (tmp_path / "study.csv").open() as file:
        assert [int(row["actor_depth"]) for row in csv.DictReader(file)] == [2, 4]
    numbers = json.loads((tmp_path / "study.json").read_text())
    assert numbers["critical_depth"] is None
    assert 0 < numbers["parameters_exponent"] < 1
    assert (tmp_path / "study.png").read_bytes().startswith(b"\x89PNG")
    assert "parameters grow as depth^" in capsys.readouterr().out
    assert run(arguments) == rows


def test_intervals_and_means() -> None:
    rows = summarise([result(4, 0.2, 0), result(4, 0.4, 1), result(4, 0.6, 2), result(8, 0.9)])
    assert [row["seeds"] for row in rows] == [3, 1]
    assert rows[0]["success_coarse"] == pytest.approx(0.4)
    assert rows[0]["success_coarse_ci95"] == pytest.approx(4.3027 * 0.2 / 3**0.5, rel=1e-3)
    assert rows[1]["success_coarse_ci95"] is None


def test_critical_depth_is_where_half_of_the_gain_is_reached() -> None:
    assert critical_depth([result(4, 0.1), result(8, 0.2), result(16, 0.8), result(32, 0.9)]) == 16
    assert critical_depth([result(4, 0.80), result(8, 0.85)]) is None
    assert critical_depth([result(8, 0.9), result(4, 0.1)]) == 8


@given(exponent=st.floats(0.2, 3), factor=st.floats(0.01, 100))
def test_exponents_of_power_laws(exponent: float, factor: float) -> None:
    x = [4.0, 8.0, 32.0, 128.0]
    assert growth_exponent(x, [factor * value**exponent for value in x]) == pytest.approx(exponent, rel=1e-6)
    assert growth_exponent([4.0, 4.0], [1.0, 2.0]) is None


def refusal(argv: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr(sys, "argv", ["train-teacher", "study", *argv])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: study: ")
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "no kind was given; there are depth, width, batch, actor-critic"),
        (["hight", "--grid", "4"], "unknown kind 'hight'"),
        (["depth"], "--grid is empty"),
        (["depth", "--grid", "4", "4"], "names a value twice"),
        (["width", "--grid", "8", "--depths", "4"], "only a batch study crosses its grid with depths"),
    ],
)
def test_bad_input_is_one_sentence(
    argv: list[str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in refusal(argv, monkeypatch, capsys)


def test_settings_of_the_runs_are_flags(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[Arguments] = []
    monkeypatch.setattr("teacher.study.cli.run", seen.append)
    settings = tmp_path / "settings.yaml"
    settings.write_text("rollout_steps: 40\n")
    argv = ["width", "--grid", "8", "16", "--seeds", "3", "--num-envs", "9", "--config-file", str(settings)]
    monkeypatch.setattr(sys, "argv", ["train-teacher", "study", *argv])
    cli.main()
    (given_,) = seen
    assert (given_.kind, given_.grid, given_.seeds) == ("width", (8, 16), 3)
    assert (given_.config.num_envs, given_.config.rollout_steps) == (9, 40)


@pytest.mark.slow
def test_on_a_local_ray_cluster(tmp_path: Path) -> None:
    """Workers train the cells and leave their folders; this process then finds nothing missing."""
    made = cells(study(base=tiny_config(updates=5, eval_every_rounds=1)))
    there = runner.run_on_ray(made, tmp_path, address="local", cpus=1.0, gpus=0.0)
    assert [row["actor_depth"] for row in there] == [2, 4]
    written = {cell.name: (tmp_path / cell.name / "summary.json").stat().st_mtime_ns for cell in made}
    assert runner.run_here(made, tmp_path) == there
    assert written == {cell.name: (tmp_path / cell.name / "summary.json").stat().st_mtime_ns for cell in made}
