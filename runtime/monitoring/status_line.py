"""What `runtime serve` shows while it runs. Lives in the gateway process, so that drawing costs no tick."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

from runtime.status import GoalStatus

_REFRESH_S = 0.2
_NO_WRAP, _WRAP, _ERASE = "\x1b[?7l", "\x1b[?7h", "\x1b[K"
"""Control sequences of every terminal since the VT100; the last erases from the cursor to the end of the line."""
DisplayKind = Literal["live", "plain", "none"]
"""One line redrawn, a line per change of state, or nothing."""


async def run_display(status: Callable[[], GoalStatus], kind: DisplayKind) -> None:
    """Show the status until cancelled: one line redrawn in place, or a line per change of state.

    Standard output must be one that never waits (`runtime.process.output`): this shares a loop with the sockets.
    """
    if kind == "live":
        await _live(status)
    elif kind == "plain":
        await _plain(status)


async def _live(status: Callable[[], GoalStatus]) -> None:
    try:
        while True:
            # Cut off at the terminal's edge, and the cursor back at the line's beginning.
            print(f"{_NO_WRAP}{status().line}{_ERASE}{_WRAP}\r", end="", flush=True)
            await asyncio.sleep(_REFRESH_S)
    finally:
        print(_ERASE, end="", flush=True)


async def _plain(status: Callable[[], GoalStatus]) -> None:
    shown: tuple[str, str, str, bool] | None = None
    while True:
        now = status()
        change = (now.state, now.reason, now.goal_id, now.reached)
        if now.ticks and change != shown:
            print(now.line, flush=True)
            shown = change
        await asyncio.sleep(_REFRESH_S)
