"""`runtime release`."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.commands.connection import Connection


@dataclass(frozen=True, kw_only=True)
class Release(Connection):
    """End an emergency stop. The robot stays where it is until the next goal."""

    def run(self) -> int:
        """Prints the status after the control loop has taken the release."""
        with self.client() as client:
            print(client.release().line)
        return 0
