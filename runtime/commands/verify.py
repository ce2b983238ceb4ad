"""`runtime verify`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class Verify:
    """Re-check a policy file on this machine: digests, graph, golden vectors, and the robot that ships with Shoal."""

    file: tyro.conf.Positional[Path]

    def run(self) -> int:
        """Exit status 2 when anything does not hold."""
        from runtime.diagnostics.policy_report import verify

        for line in verify(self.file):
            print(line)
        return 0
