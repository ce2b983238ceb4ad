"""What `runtime serve` shows while it runs. Lives in the gateway process, so that drawing costs no tick."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

from runtime.status import GoalStatus

_REFRESH_S = 0.2
DisplayKind = Literal["live", "plain", "none"]
"""One line redrawn, a line per change of state, or nothing."""


async def run_display(status: Callable[[], GoalStatus], kind: DisplayKind) -> None:
    """Show the status until cancelled: one line redrawn in place, or a line per change of state."""
    try:
        if kind == "live":
            await _live(status)
        elif kind == "plain":
            await _plain(status)
    except BrokenPipeError:
        # Nobody reads standard output any more; the gateway's work goes on.
        return


async def _live(status: Callable[[], GoalStatus]) -> None:
    from rich.live import Live
    from rich.text import Text

    with Live(auto_refresh=False, transient=True) as live:
        while True:
            live.update(Text(status().line), refresh=True)
            await asyncio.sleep(_REFRESH_S)


async def _plain(status: Callable[[], GoalStatus]) -> None:
    shown: tuple[str, str, str, bool] | None = None
    while True:
        now = status()
        change = (now.state, now.reason, now.goal_id, now.reached)
        if now.ticks and change != shown:
            print(now.line, flush=True)
            shown = change
        await asyncio.sleep(_REFRESH_S)
