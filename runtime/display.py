"""What `runtime serve` shows while it runs. Lives in the gateway process, so that drawing costs no tick."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Literal

from runtime.status import GoalStatus

DisplayKind = Literal["live", "plain", "none"]
_REFRESH_S = 0.2


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
            live.update(Text(describe(status())), refresh=True)
            await asyncio.sleep(_REFRESH_S)


async def _plain(status: Callable[[], GoalStatus]) -> None:
    shown: tuple[str, str, str, bool] | None = None
    while True:
        now = status()
        change = (now.state, now.reason, now.goal_id, now.reached)
        if now.ticks and change != shown:
            print(describe(now), flush=True)
            shown = change
        await asyncio.sleep(_REFRESH_S)


def describe(status: GoalStatus) -> str:
    """One line."""
    parts = [f"{status.state:<7} {status.reason}"]
    if status.goal_id:
        parts.append(f"goal {status.goal_id}{' REACHED' if status.reached else ''}")
    if status.distance_m is not None:
        parts.append(f"{status.distance_m * 1e3:.1f} mm")
    if status.angle_deg is not None:
        parts.append(f"{status.angle_deg:.1f} deg")
    if status.reachability is not None:
        parts.append(f"reachability {status.reachability:.2f}")
    parts.append(f"missed {status.missed_periods}")
    return " | ".join(parts)


def choose_display() -> DisplayKind:
    """Live on a terminal, plain lines otherwise."""
    return "live" if sys.stdout.isatty() else "plain"
