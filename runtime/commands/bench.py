"""`runtime bench`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class Bench:
    """Time a tick on this machine, hot and paced."""

    file: tyro.conf.Positional[Path]
    samples: int = 2000
    rate_hz: float = 500.0
    """Of the paced ticks."""
    json: bool = False
    """As JSON."""

    def run(self) -> int:
        """Prints a table."""
        from runtime.report import print_bench

        print_bench(self.file, samples=self.samples, rate_hz=self.rate_hz, as_json=self.json)
        return 0
