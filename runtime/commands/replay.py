"""`runtime replay`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class Replay:
    """Recompute the commands of a recording and compare them bit for bit."""

    file: tyro.conf.Positional[Path]
    """The MCAP file of runtime serve --record."""
    model: Path
    """The policy file that was served."""

    def run(self) -> int:
        """Exit status 1 when any command differs."""
        from runtime.recording.replay import replay

        result = replay(self.file, self.model)
        for line in result.first:
            print(line)
        lost = f", {result.lost} ticks are missing from the recording" if result.lost else ""
        if result.different:
            print(f"{result.different} of {result.ticks} commands differ, by {result.max_difference_rad:.1e} rad{lost}")
        else:
            print(f"all {result.ticks} commands are the same, bit for bit{lost}")
        return int(result.different > 0)
