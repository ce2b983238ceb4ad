"""`runtime stop`."""

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
