"""`sim2real latency`: measured delays, as a training distribution."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro
from rich.table import Table

from sim2real.commands.outputs import OutputPath
from sim2real.commands.shared import console, log_of
from sim2real.errors import ShoalError
from sim2real.files import write_json, write_text
from sim2real.randomisation.config import dump_randomisation, load_randomisation
from sim2real.tasks.task import load_task
from sim2real.timing.latency import measure

Logs = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(name="log", metavar="LOG ...")]


def latency(logs: Logs, *, task: str, base: str = "mild", output: OutputPath = Path("latency.yaml")) -> None:
    """Measure delays in recordings and write them as the distributions that training draws from.

    Args:
        logs: recordings of runtime serve or runtime play, of one robot.
        task: a shipped task or a task's .yaml, the one the recordings were made for.
        base: randomisation of everything else, a preset or a file.
        output: the randomisation with the measured delays, YAML; numbers go beside it as .json.
    """
    loaded, setting = load_task(task), load_randomisation(base)
    if not logs:
        raise ShoalError("latency: give at least one recording.")
    found = measure([log_of(path, loaded) for path in logs], loaded.model)
    title = f"{found.ticks} ticks, {found.missed_periods} missed periods"
    table = Table("latency", "1 %", "median", "99 %", title=title)
    for name, values in found.rows():
        table.add_row(name, *(f"{value * 1e3:.2f} ms" for value in values))
    console().print(table)
    for sentence in found.warnings():
        print(f"note: {sentence}")
    write_text(output, dump_randomisation(found.apply(setting)))
    numbers = {
        "logs": [str(path) for path in logs],
        "ticks": found.ticks,
        "missed_periods": found.missed_periods,
        "rows": {name: dict(zip(("p1_s", "p50_s", "p99_s"), values, strict=True)) for name, values in found.rows()},
        "terms": found.terms(),
    }
    write_json(output.with_suffix(".json"), numbers)
    print(f"written: {output}, {output.with_suffix('.json')}")
