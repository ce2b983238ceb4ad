"""`runtime estop`."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.commands.connection import Connection


@dataclass(frozen=True, kw_only=True)
class Estop(Connection):
    """Emergency stop: drop all goals and follow none until runtime release. Anyone may, lease or not."""

    def run(self) -> int:
        """Prints the status after the control loop has stopped."""
        with self.client() as client:
            print(client.estop().line)
        return 0
