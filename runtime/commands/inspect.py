"""`runtime inspect`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class Inspect:
    """Show the contract and the certificate inside a policy file."""

    file: tyro.conf.Positional[Path]
    json: bool = False
    """As JSON."""

    def run(self) -> int:
        """Prints tables."""
        from runtime.diagnostics.policy_report import print_json, print_tables

        (print_json if self.json else print_tables)(self.file)
        return 0
