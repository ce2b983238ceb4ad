"""Run what is missing of a study, here or on a Ray cluster.

A cell is finished when its folder holds `summary.json`; one that was interrupted goes on from its last checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sim2real.errors import ShoalError, first_line
from sim2real.files import read_model, write_yaml
from sim2real.progress import Progress
from teacher.config import TeacherConfig
from teacher.run.folder import RunFolder, nothing_left_on_failure
from teacher.run.resume import differences
from teacher.study.grid import Cell, StudyConfig, cells

_FILE = "study.yaml"


@contextmanager
def opened(study: StudyConfig, folder: Path) -> Iterator[list[Cell]]:
    """The cells of a study in a folder that holds no other; nothing is left of one in which no run has begun.

    A study may grow: more of `grid`, `depths`, `seeds` or `updates`. Anything else must stay as it was.
    """
    made = cells(study)
    path = folder / _FILE
    if path.is_file():
        earlier = read_model(StudyConfig, path, what="the study's settings")
        _require_growth(earlier, study, folder)
    with nothing_left_on_failure(folder, unless=lambda: any(folder.glob("*/config.yaml"))):
        write_yaml(path, study.model_dump(mode="json"))
        yield made


def _require_growth(earlier: StudyConfig, now: StudyConfig, folder: Path) -> None:
    found = [
        f"{name} is {there!r} there and {here!r} here"
        for name, there, here in differences(earlier, now)
        if name not in ("grid", "depths", "seeds") and not (name == "base.updates" and here > there)
    ]
    if found:
        raise ShoalError(
            f"{folder}: holds another study ({'; '.join(found)}); choose another --folder, or the same settings."
        )


def trained(config: TeacherConfig, run: RunFolder, progress: Progress | None = None) -> bool:
    """Train from scratch, or go on with what an interrupted or shorter run left; False where nothing was left to do."""
    from teacher.train import Trainer

    if run.summary.is_file() and run.read_summary()["updates"] >= config.updates:
        return False
    Trainer(config, run, resume=run.holds_run, progress=progress).train()
    return True


def run_cell(config: TeacherConfig, folder: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Train one cell, or finish it, or read what it left; its summary with the seconds of an update."""
    import jax

    run = RunFolder(folder)
    if trained(config, run, progress):
        # Every cell compiles its own programs; dozens of them in one process exceed the number of memory maps.
        jax.clear_caches()  # type: ignore[no-untyped-call]
    rows = run.read_metrics()
    # The first round compiles.
    seconds = sorted(row["update_s"] for row in rows[1:] or rows)
    return run.read_summary() | {"update_s": seconds[len(seconds) // 2] / config.updates_per_rollout}


def run_here(made: list[Cell], folder: Path, *, quiet: bool = False) -> list[dict[str, Any]]:
    """All cells one after another, in this process."""
    results = []
    with Progress("study", len(made), quiet=quiet) as progress:
        for cell in made:
            with progress.part(cell.name) as part:
                results.append(cell.values | run_cell(cell.config, folder / cell.name, part))
            progress.advance()
    return results


def run_on_ray(
    made: list[Cell], folder: Path, *, address: str, cpus: float, gpus: float, quiet: bool = False
) -> list[dict[str, Any]]:
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
        with Progress("study", len(made), quiet=quiet) as progress:
            progress.doing(f"training on Ray, {address}")
            while pending:
                done, _ = ray.wait(list(pending))
                cell = pending.pop(done[0])
                found[cell.name] = cell.values | ray.get(done[0])
                progress.advance(cell.name, line=True)
    finally:
        ray.shutdown()
    return [found[cell.name] for cell in made]
