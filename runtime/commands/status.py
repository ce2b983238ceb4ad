"""`runtime status`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Status:
    """Show where a running server's robot and goal stand."""

    json: bool = False
    """As JSON."""
    address: str | None = None
    """Socket path, unix:///path or tcp://127.0.0.1:PORT."""

    def run(self) -> int:
        """Prints one line."""
        from runtime.client import Client

        with Client(self.address) as client:
            status = client.status()
        print(status.model_dump_json(indent=2) if self.json else status.line)
        return 0
