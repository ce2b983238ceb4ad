"""`runtime release`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Release:
    """End an emergency stop. The robot stays where it is until the next goal."""

    address: str | None = None
    """Socket path, unix:///path or tcp://127.0.0.1:PORT."""

    def run(self) -> int:
        """Prints the status after the control loop has taken the release."""
        from runtime.client import Client

        with Client(self.address) as client:
            print(client.release().line)
        return 0
