"""Stop a running server's robot, and let it go on: `runtime stop`, `estop`, `release`."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.commands.connection import Connection


@dataclass(frozen=True, kw_only=True)
class Stop(Connection):
    """Make a running server hold position and end."""

    def run(self) -> int:
        """Silent on success."""
        with self.client() as client:
            client.stop()
        return 0


@dataclass(frozen=True, kw_only=True)
class Estop(Connection):
    """Emergency stop: drop all goals and follow none until runtime release. Anyone may, lease or not."""

    def run(self) -> int:
        """Prints the status after the control loop has stopped."""
        with self.client() as client:
            print(client.estop().line)
        return 0


@dataclass(frozen=True, kw_only=True)
class Release(Connection):
    """End an emergency stop. The robot stays where it is until the next goal."""

    def run(self) -> int:
        """Prints the status after the control loop has taken the release."""
        with self.client() as client:
            print(client.release().line)
        return 0
