"""Finds the processes of a served robot, for those who kill them."""

from __future__ import annotations

import subprocess
import time

from sim2real.errors import ShoalError

_LISTENER = "runtime.server.listener"
"""What the listener process is started as; the gateway is its fork."""
_PATIENCE_S = 60.0


def listener_and_gateway(control: int) -> tuple[int, int]:
    """Process ids of the listener and the gateway under a control process, once they are there.

    Raises `ShoalError` if they do not come up.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        listed = _listed()
        for pid, parent in listed.items():
            if listed.get(parent) == control:
                return parent, pid
        time.sleep(0.02)
    raise ShoalError(f"chaos: process {control} has no listener with a gateway.")


def in_reserve(control: int) -> int:
    """Process id of the listener process that waits for the other one's end; 0 if there is none now."""
    listed = _listed()
    waiting = [pid for pid, parent in listed.items() if parent == control and pid not in listed.values()]
    return waiting[0] if len(waiting) == 1 and len(listed) > 2 else 0


def _listed() -> dict[int, int]:
    """The parent of each listener process and gateway that lives."""
    command = ["ps", "-A", "-ww", "-o", "pid=,ppid=,stat=,args="]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [line.split(None, 3) for line in lines if _LISTENER in line]
    return {int(pid): int(parent) for pid, parent, state, _ in rows if not state.startswith("Z")}
