"""`runtime estop`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Estop:
    """Emergency stop: drop all goals and follow none until runtime release. Anyone may, lease or not."""

    address: str | None = None
    """Socket path, unix:///path or tcp://127.0.0.1:PORT."""

    def run(self) -> int:
        """Prints the status after the control loop has stopped."""
        from runtime.client import Client

        with Client(self.address) as client:
            print(client.estop().line)
        return 0
