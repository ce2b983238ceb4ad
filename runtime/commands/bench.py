"""`runtime bench`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from runtime.options import Engine


@dataclass(frozen=True)
class Bench:
    """Time a tick on this machine, hot and paced, or with --loop how punctual the control loop is."""

    file: tyro.conf.Positional[Path]
    engine: Engine = "auto"
    """What computes the policy; see serve."""
    samples: int = 2000
    rate_hz: float = 500.0
    """Of the paced ticks."""
    loop: float | None = None
    """Run the loop at this rate, Hz, beside one that only sleeps, and count late and missed ticks."""
    load: bool = False
    """With --loop: once more while a process on every core takes all that it can get."""
    ticks: int = 4000
    """With --loop: of each run."""
    json: bool = False
    """As JSON."""

    def run(self) -> int:
        """Prints a table."""
        from runtime.diagnostics.bench_report import print_bench, print_loop_bench

        if self.loop is None:
            print_bench(self.file, samples=self.samples, rate_hz=self.rate_hz, engine=self.engine, as_json=self.json)
        else:
            load = (False, True) if self.load else (False,)
            print_loop_bench(
                self.file, rate_hz=self.loop, ticks=self.ticks, load=load, engine=self.engine, as_json=self.json
            )
        return 0
