"""`train-teacher study KIND`: what depth, width, batch size and the two networks' depths do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, get_args

import tyro
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from sim2real.commands.outputs import JsonFile
from sim2real.errors import ShoalError, problems
from sim2real.files import write_json, write_text
from teacher.config import TeacherConfig
from teacher.study.grid import Kind, StudyConfig
from teacher.study.runner import opened, run_here, run_on_ray


@dataclass(frozen=True)
class Arguments:
    """Run a grid of teachers, or what is missing of it, and write study.csv, study.json and study.png."""

    kind: tyro.conf.Suppress[Kind]
    grid: tuple[int, ...] = ()
    """Depths, widths or batch sizes."""
    depths: tuple[int, ...] = ()
    """Of a batch study: depths to cross the batch sizes with."""
    seeds: int = 1
    folder: Path | None = None
    """Of the study; runs/study_KIND by default."""
    ray: str | None = None
    """Run on a Ray cluster: `local` starts one here, `auto` or HOST:PORT joins one whose nodes share the folder."""
    ray_cpus: float = 1.0
    """Cores of one run on Ray."""
    ray_gpus: float = 0.0
    """GPUs of one run on Ray; a fraction lets runs share one."""
    quiet: bool = False
    """No progress, only the result."""
    json: JsonFile | None = None
    """Write the numbers of the result here, too."""
    config: tyro.conf.OmitArgPrefixes[TeacherConfig] = field(default_factory=TeacherConfig)


def main(argv: list[str], defaults: TeacherConfig) -> None:
    """Run the study that the arguments describe, on top of `defaults` for every run."""
    kinds = get_args(Kind)
    if argv[:1] in (["-h"], ["--help"]):
        print(
            f"usage: train-teacher study {{{','.join(kinds)}}} [OPTIONS]; `train-teacher study depth --help` names them"
        )
        return
    if not argv or argv[0] not in kinds:
        given = f"unknown kind {argv[0]!r}" if argv else "no kind was given"
        raise ShoalError(f"study: {given}; there are {', '.join(kinds)}. `train-teacher study depth --help` says more.")
    default = Arguments(kind=cast(Kind, argv[0]), config=defaults)
    run(tyro.cli(Arguments, prog=f"train-teacher study {argv[0]}", default=default, args=argv[1:]))


def run(arguments: Arguments) -> list[dict[str, Any]]:
    """Run what is missing and write table, numbers and picture; returns the rows."""
    study = _study(arguments)
    folder = arguments.folder or Path("runs") / f"study_{arguments.kind.replace('-', '_')}"
    with opened(study, folder) as made:
        if arguments.ray is None:
            results = run_here(made, folder, quiet=arguments.quiet)
        else:
            resources = {"cpus": arguments.ray_cpus, "gpus": arguments.ray_gpus}
            results = run_on_ray(made, folder, address=arguments.ray, quiet=arguments.quiet, **resources)
    return report(study, results, folder, arguments.json)


def report(
    study: StudyConfig, results: list[dict[str, Any]], folder: Path, json: Path | None = None
) -> list[dict[str, Any]]:
    """Write `study.csv`, `study.json`, also to `json`, and `study.png`, and print the table."""
    from teacher.study.analysis import as_csv, critical_depth, growth_exponent, summarise
    from teacher.study.plots import draw

    rows = summarise(results)
    numbers: dict[str, Any] = {"kind": study.kind, "task": study.base.task, "updates": study.base.updates, "rows": rows}
    if study.kind == "depth":
        numbers["critical_depth"] = critical_depth(rows)
    if study.kind in ("depth", "width"):
        x = [float(row["actor_depth" if study.kind == "depth" else "width"]) for row in rows]
        numbers |= {
            f"{name}_exponent": growth_exponent(x, [row[name] for row in rows]) for name in ("parameters", "update_s")
        }
    write_text(folder / "study.csv", as_csv(rows))
    for path in filter(None, (folder / "study.json", json)):
        write_json(path, numbers | {"runs": results}, indent=1)
    title = f"{Path(study.base.task).stem}, {study.base.updates} updates, seeds: {study.seeds}"
    draw(study.kind, rows, folder / "study.png", title=title)
    _print(study, numbers, folder)
    return rows


def _study(arguments: Arguments) -> StudyConfig:
    if not arguments.grid:
        raise ShoalError("study: --grid is empty; give the values to compare, for instance --grid 4 16 64.")
    names = ("kind", "grid", "depths", "seeds")
    try:
        return StudyConfig(**{name: getattr(arguments, name) for name in names}, base=arguments.config)
    except ValidationError as error:
        raise ShoalError(f"study: {problems(error)}.") from error


def _print(study: StudyConfig, numbers: dict[str, Any], folder: Path) -> None:
    table = Table("actor", "critic", "width", "batch", "seeds", "coarse", "fine", "parameters", "ms an update")
    for row in numbers["rows"]:
        point = [str(row[name]) for name in ("actor_depth", "critic_depth", "width", "batch_size", "seeds")]
        scores = [_with_interval(row, name) for name in ("success_coarse", "success_fine")]
        table.add_row(*point, *scores, f"{row['parameters']:,.0f}", f"{1e3 * row['update_s']:.1f}")
    console = Console()
    console.print(table)
    if study.kind == "depth":
        critical = numbers["critical_depth"]
        console.print("depth gains less than 0.1" if critical is None else f"critical depth: {critical}")
    for name, what in (("parameters", "parameters grow"), ("update_s", "the time of an update grows")):
        if (exponent := numbers.get(f"{name}_exponent")) is not None:
            console.print(f"{what} as {study.kind}^{exponent:.2f}")
    console.print(f"{folder / 'study.csv'}, study.json, study.png", soft_wrap=True)


def _with_interval(row: dict[str, Any], name: str) -> str:
    half = row[f"{name}_ci95"]
    return f"{row[name]:.1%}" + ("" if half is None else f" ± {half:.1%}")
