"""`runtime stop`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stop:
    """Make a running server hold position and end."""

    address: str | None = None
    """Socket path, unix:///path or tcp://127.0.0.1:PORT."""

    def run(self) -> int:
        """Silent on success."""
        from runtime.client import Client

        with Client(self.address) as client:
            client.stop()
        return 0
