"""How punctual a 1 kHz loop is: a bare sleep loop, and one real-time measure after the other, idle and under load.

    python -m benchmarks.latency.loop [models/franka_pose.onnx] [--quick] [--json PATH]

Each line has everything of the line before it: absolute deadlines with late ticks skipped; what needs no permission
(a scheduler slice of 0.7 ms, no timer slack, a frozen garbage collector); SCHED_FIFO and locked memory; processors that
do not sleep deeply; 100 us of spinning before each deadline. A miss is a period without a tick of its own. Load is one
process on every core that takes all it can get. The machine's own noise stands below each table.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console

from benchmarks.machine import machine
from runtime.diagnostics.bench_report import print_loop_rows
from runtime.diagnostics.loop_bench import BARE, FIFO, FIFO_SPIN, MATRIX, NO_DEEP_SLEEP, UNPRIVILEGED, bench_loop
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.files import write_json


@dataclass(frozen=True)
class Arguments:
    """Measure loops."""

    policy: tyro.conf.Positional[Path] = Path("models/franka_pose.onnx")
    rate_hz: float = 1000.0
    ticks: int = 8000
    quick: bool = False
    """1,000 ticks."""
    json: JsonFile | None = None
    """Write the rows here too."""


def comparisons(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Misses under load: without SCHED_FIFO beside the bare loop's, with it per 8,000 ticks."""
    loaded = {row["variant"]: row for row in rows if row["load"] and "missed" in row}
    bare = max(loaded[BARE.name]["missed"], 1)
    found = {"unprivileged / bare, misses under load": loaded[UNPRIVILEGED.name]["missed"] / bare}
    for variant in (FIFO, NO_DEEP_SLEEP, FIFO_SPIN):
        if variant.name in loaded:
            row = loaded[variant.name]
            missed, share = row["missed"], 8000 / row["ticks"]
            found[f"{variant.name}, misses under load per 8,000 ticks"] = missed * share
            there = missed - row["missed_by"]["machine"]
            found[f"{variant.name}, of them while the processor was there"] = there * share
    return found


def main() -> None:
    """Print the tables, write JSON."""
    arguments = tyro.cli(Arguments, description=__doc__)
    ticks = 1000 if arguments.quick else arguments.ticks
    console = Console()
    with console.status("measuring"):
        measured = bench_loop(
            arguments.policy, rate_hz=arguments.rate_hz, ticks=ticks, load=(False, True), variants=MATRIX
        )
        rows = list(measured)
    print_loop_rows(rows, rate_hz=arguments.rate_hz, ticks=ticks, console=console)
    for name, value in comparisons(rows).items():
        console.print(f"{value:8.3g}  {name}", highlight=False)
    if arguments.json:
        report = {"machine": machine(), "policy": arguments.policy.name, "rate_hz": arguments.rate_hz, "ticks": ticks}
        write_json(arguments.json, report | {"rows": rows, "comparisons": comparisons(rows)}, indent=1)


if __name__ == "__main__":
    with command_line():
        main()
