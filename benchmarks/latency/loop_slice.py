"""Which scheduler slice a 1 kHz loop without SCHED_FIFO should ask for: periods missed beside competing processes.

    python -m benchmarks.latency.loop_slice [models/franka_pose.onnx] [--quick] [--json PATH]

One process on every core takes all it can get. The loop's tick is taken as it is and with busy work added. Rounds take
slices in turn, so that a machine that changes changes for all of them; what the machine itself took is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.machine import machine
from runtime.diagnostics.loop_bench import UNPRIVILEGED, Variant, bench_loop
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.files import write_json


@dataclass(frozen=True)
class Arguments:
    """Measure slices."""

    policy: tyro.conf.Positional[Path] = Path("models/franka_pose.onnx")
    slices_ms: tuple[float, ...] = (0.1, 0.3, 0.7, 1.4)
    works_us: tuple[float, ...] = (0.0, 200.0)
    rate_hz: float = 1000.0
    ticks: int = 4000
    rounds: int = 5
    quick: bool = False
    """Two slices, 500 ticks, one round."""
    json: JsonFile | None = None
    """Write the counts here too."""


def variants(slices_ms: tuple[float, ...], works_us: tuple[float, ...]) -> Iterator[Variant]:
    """The loop without permissions, with every slice and every amount of work."""
    for work_us in works_us:
        for slice_ms in slices_ms:
            options = replace(UNPRIVILEGED.realtime, slice_s=slice_ms / 1e3)
            name = f"+{work_us:g} us, slice {slice_ms:g} ms"
            yield replace(UNPRIVILEGED, name=name, realtime=options, work_s=work_us / 1e6)


def main() -> None:
    """Print the table, write JSON."""
    arguments = tyro.cli(Arguments, description=__doc__)
    slices = arguments.slices_ms[::2] if arguments.quick else arguments.slices_ms
    ticks, rounds = (500, 1) if arguments.quick else (arguments.ticks, arguments.rounds)
    compared = tuple(variants(slices, arguments.works_us))
    missed: dict[str, list[int]] = {variant.name: [] for variant in compared}
    measured = bench_loop(
        arguments.policy, rate_hz=arguments.rate_hz, ticks=ticks, load=(True,), variants=compared * rounds
    )
    for row in track(measured, "measuring", total=1 + len(compared) * rounds):
        if "noise" not in row:
            missed[row["variant"]].append(row["missed"] - row["missed_by"]["machine"])
    table = Table("work added, slice", "median", "worst", title=f"periods missed of {ticks}, {rounds} rounds")
    for name, counts in missed.items():
        table.add_row(name, f"{median(counts):g}", str(max(counts)))
    Console().print(table)
    if arguments.json:
        report = {"machine": machine(), "rate_hz": arguments.rate_hz, "ticks": ticks, "missed": missed}
        write_json(arguments.json, report, indent=1)


if __name__ == "__main__":
    with command_line():
        main()
