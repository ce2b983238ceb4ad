"""`runtime top`."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from runtime.commands.connection import Connection


@dataclass(frozen=True, kw_only=True)
class Top(Connection):
    """Watch a running server in the terminal, under the names of its Prometheus metrics."""

    once: bool = False
    """Print it once."""

    def run(self) -> int:
        """Until Ctrl-C."""
        from runtime.monitoring.top import show

        with self.client() as client, suppress(KeyboardInterrupt):
            show(client, once=self.once)
        return 0
