"""`runtime status`."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.commands.connection import Connection


@dataclass(frozen=True, kw_only=True)
class Status(Connection):
    """Show where a running server's robot and goal stand."""

    json: bool = False
    """As JSON."""

    def run(self) -> int:
        """Prints one line."""
        with self.client() as client:
            status = client.status()
        print(status.model_dump_json(indent=2) if self.json else status.line)
        return 0
