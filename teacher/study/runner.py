"""Run what is missing of a study, here or on a Ray cluster.

A cell is finished when its folder holds `summary.json`; one that was interrupted goes on from its last checkpoint.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sim2real.errors import ShoalError, first_line
from sim2real.files import read_model, write_yaml
from teacher.config import TeacherConfig
from teacher.run_folder import RunFolder
from teacher.study.grid import Cell, StudyConfig, cells

_FILE = "study.yaml"


def open_study(study: StudyConfig, folder: Path) -> list[Cell]:
    """Write the study's settings into its folder, or check that the folder holds the same study; returns its cells.

    A study may grow (more of `grid`, `depths` or `seeds`); anything else must stay as it was.
    """
    made = cells(study)
    path = folder / _FILE
    if path.is_file():
        earlier = read_model(StudyConfig, path, what="the study's settings")
        grows = {"grid": study.grid, "depths": study.depths, "seeds": study.seeds}
        if earlier.model_copy(update=grows) != study:
            raise ShoalError(
                f"{folder}: holds another study ({_difference(earlier, study)}); choose another --folder, or the same "
                "settings."
            )
    write_yaml(path, study.model_dump(mode="json"))
    return made


def _difference(earlier: StudyConfig, now: StudyConfig) -> str:
    """The first setting that differs, by name, with both values."""

    def flat(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
        out: dict[str, Any] = {}
        for name, value in data.items():
            out |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
        return out

    left, right = flat(earlier.model_dump()), flat(now.model_dump())
    name = next(name for name in left if left[name] != right[name] and name not in ("grid", "depths", "seeds"))
    return f"{name} is {left[name]!r} there and {right[name]!r} here"


def run_cell(config: TeacherConfig, folder: Path) -> dict[str, Any]:
    """Train one cell, or finish it, or read what it left; its summary with the seconds of an update."""
    import jax

    from teacher.train import Trainer

    run = RunFolder(folder)
    if not (folder / "summary.json").is_file():
        Trainer(config, run, resume=(folder / "config.yaml").is_file()).train()
        # Every cell compiles its own programs; dozens of them in one process exceed the number of memory maps.
        jax.clear_caches()  # type: ignore[no-untyped-call]
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    rows = run.read_metrics()
    # The first round compiles.
    seconds = sorted(row["update_s"] for row in rows[1:] or rows)
    return summary | {"update_s": seconds[len(seconds) // 2] / config.updates_per_rollout}


def run_here(made: list[Cell], folder: Path) -> list[dict[str, Any]]:
    """All cells one after another, in this process."""
    results = []
    with _bar() as progress:
        task = progress.add_task("study", total=len(made))
        for cell in made:
            progress.update(task, description=f"study {cell.name}")
            results.append(cell.values | run_cell(cell.config, folder / cell.name))
            progress.advance(task)
    return results


def run_on_ray(made: list[Cell], folder: Path, *, address: str, cpus: float, gpus: float) -> list[dict[str, Any]]:
    """All cells as tasks of a Ray cluster whose nodes share `folder`; `address` is `local`, `auto` or a host and port.

    Each task takes `cpus` cores and `gpus` GPUs. A task whose worker dies is tried again and goes on from the cell's
    last checkpoint.
    """
    try:
        import ray
    except ImportError as error:
        raise ShoalError("study: --ray needs the sweep extra, pip install 'shoal[sweep]'.") from error
    try:
        ray.init(address=address, ignore_reinit_error=True, log_to_driver=False)
    except ConnectionError as error:
        raise ShoalError(f"study: no Ray cluster at {address!r}: {first_line(error)}") from error
    task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=2)(run_cell)
    try:
        pending = {task.remote(cell.config, (folder / cell.name).resolve()): cell for cell in made}
        found: dict[str, dict[str, Any]] = {}
        with _bar() as progress:
            bar = progress.add_task("study", total=len(made))
            while pending:
                done, _ = ray.wait(list(pending))
                cell = pending.pop(done[0])
                found[cell.name] = cell.values | ray.get(done[0])
                progress.advance(bar)
    finally:
        ray.shutdown()
    return [found[cell.name] for cell in made]


def _bar() -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    return Progress(*columns, TextColumn("left"), TimeRemainingColumn())
