"""`runtime goals`."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.commands.connection import Connection


@dataclass(frozen=True, kw_only=True)
class Goals(Connection):
    """Show the goals of a running server and what became of them."""

    follow: bool = False
    """Print a line at every change, until interrupted or the server ends."""
    json: bool = False
    """As JSON, one goal a line."""

    def run(self) -> int:
        """Prints one line per goal, oldest first."""
        with self.client() as client:
            shown: dict[int, float] = {}
            for goals in client.goal_changes() if self.follow else (client.goals(),):
                for goal in goals:
                    if shown.get(goal.number) != goal.stamp:
                        print(goal.model_dump_json() if self.json else goal.line, flush=True)
                    shown[goal.number] = goal.stamp
        return 0
