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
        """Exit status 1 when any command differs, 2 when there is nothing to compare."""
        from runtime.recording.replay import replay

        result = replay(self.file, self.model)
        for line in result.first:
            print(line)
        if result.note:
            print(f"note: {result.note}")
        if result.lost:
            unknown = result.ticks - result.compared
            print(f"note: {result.lost} ticks are missing from the recording, before {unknown} that are not compared.")
        if result.different:
            print(f"{result.different} of {result.compared} commands differ, by {result.max_difference_rad:.1e} rad")
        else:
            print(f"all {result.compared} commands are the same, bit for bit")
        return int(result.different > 0)
