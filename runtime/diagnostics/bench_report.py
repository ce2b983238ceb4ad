"""What `runtime bench` prints."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from runtime.diagnostics.loop_bench import bench_loop
from runtime.diagnostics.tick_bench import bench
from runtime.options import Engine
from runtime.realtime.missed_deadlines import MissedDeadlines
from runtime.realtime.os_noise import Noise

_ROWS = {
    "inference_hot": "inference, hot",
    "inference_paced": "inference, paced",
    "tick_hot": "whole tick, hot",
    "tick_paced": "whole tick, paced",
    "tick_paced_warm": "whole tick, paced, warmed up as serve does",
}


def print_bench(path: Path, *, samples: int, rate_hz: float, engine: Engine, as_json: bool) -> None:
    """Latencies of `runtime.diagnostics.tick_bench.bench`."""
    result = bench(path, samples=samples, rate_hz=rate_hz, engine=engine)
    if as_json:
        print(json.dumps(result, indent=2))
        return
    console = Console()
    table = Table("", *_right("p50", "p99", "p99.9", "max"), title=f"{path.name}, paced at {rate_hz:g} Hz, us")
    for name, words in _ROWS.items():
        part: dict[str, Any] = result[name]
        table.add_row(words, *(f"{part[key]:.1f}" for key in ("p50_us", "p99_us", "p999_us", "max_us")))
    console.print(table)
    console.print(f"engine: {result['engine']}", highlight=False)


def print_loop_bench(
    path: Path, *, rate_hz: float, ticks: int, load: Sequence[bool], engine: Engine, as_json: bool
) -> None:
    """Punctuality of `runtime.diagnostics.loop_bench.bench_loop`, row by row as they are measured."""
    console = Console(stderr=as_json)
    rows: list[dict[str, Any]] = []
    with console.status("measuring"):
        for row in bench_loop(path, rate_hz=rate_hz, ticks=ticks, load=load, engine=engine):
            rows.append(row)
            console.print(f"measured {row.get('variant', 'noise floor')}", style="dim", highlight=False)
    if as_json:
        print(json.dumps({"policy": path.name, "rate_hz": rate_hz, "ticks": ticks, "rows": rows}, indent=2))
    else:
        print_loop_rows(rows, rate_hz=rate_hz, ticks=ticks, console=console)


def print_loop_rows(rows: Iterable[dict[str, Any]], *, rate_hz: float, ticks: int, console: Console) -> None:
    """Rows of `bench_loop`, one table for each load."""
    by_load: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        by_load.setdefault(row["load"], []).append(row)
    for load, found in by_load.items():
        title = f"{ticks} ticks at {rate_hz:g} Hz, {f'{load} competing processes' if load else 'no load of ours'}, us"
        headings = ("missed", "late p50", "p99", "p99.9", "max", "jitter p99", "max")
        table = Table(Column("", no_wrap=True), *_right(*headings), title=title)
        for row in found:
            if "variant" in row:
                table.add_row(row["variant"], *_cells(row))
        console.print(table)
        for row in found:
            if row.get("missed") and row["missed_by"]:
                causes = MissedDeadlines(**row["missed_by"]).line
                console.print(f"{row['variant']}, {row['missed']} missed: {causes}", highlight=False)
            if "noise" in row:
                console.print(Noise(**row["noise"]).line, highlight=False)


def _cells(row: dict[str, Any]) -> list[str]:
    if "missing" in row:
        return [row["missing"]]
    late, jitter = row["lateness"], row["jitter"]
    numbers = [late[key] for key in ("p50_us", "p99_us", "p999_us", "max_us")]
    numbers += [jitter[key] for key in ("p99_us", "max_us")]
    return [str(row["missed"]), *(f"{number:.0f}" for number in numbers)]


def _right(*headings: str) -> list[Column]:
    return [Column(heading, justify="right") for heading in headings]
