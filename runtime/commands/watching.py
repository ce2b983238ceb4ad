"""Look at a running server: `runtime status`, `top`."""

from __future__ import annotations

from contextlib import suppress
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


@dataclass(frozen=True, kw_only=True)
class Top(Connection):
    """Watch a running server in the terminal, under the names of its Prometheus metrics."""

    once: bool = False
    """Print it once."""

    def run(self) -> int:
        """Shows it until Ctrl-C."""
        from runtime.monitoring.top import show

        with self.client() as client, suppress(KeyboardInterrupt):
            show(client, once=self.once)
        return 0
