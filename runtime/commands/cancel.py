"""`runtime cancel`."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.commands.connection import Connection


@dataclass(frozen=True, kw_only=True)
class Cancel(Connection):
    """Cancel one goal or all of them; the robot holds its position if the one in force was among them."""

    id: str | None = None
    """Of the goal; all goals if not given."""

    def run(self) -> int:
        """Prints the status after the control loop has taken it."""
        with self.client() as client:
            print(client.cancel_goal(self.id).line)
        return 0
