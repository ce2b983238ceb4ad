"""A served robot in processes of its own, and how to find them, for those who kill them."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from runtime.goals.messages import GoalPose
from runtime.inference.policy import Policy
from runtime.protocol.client import Client
from runtime.status import State
from sim2real.child_process import python_module
from sim2real.contract import Contract
from sim2real.errors import ShoalError

_LISTENER = "runtime.server.listener"
"""What the listener process is started as; the gateway is its fork."""
_PATIENCE_S = 60.0
STATES = {state.label: state for state in State}

Served = tuple[State, list[str]]
"""The state at the end, and what was wrong."""


class Server:
    """`runtime serve` in a process of its own, with the simulated robot at four times its speed."""

    def __init__(self, model: Path, folder: Path, *options: str, output: int | None = None) -> None:
        """`output` is a descriptor that what it says goes to, instead of the file `output` in `folder`."""
        self.socket, settings = folder / "s", folder / "safety.yaml"
        # These scenarios are about something else, and must come out the same on a machine that is busy.
        settings.write_text("overruns_in_a_row: null\n")
        arguments = ["--model", str(model.absolute()), "--socket", str(self.socket), "--safety", str(settings)]
        arguments += ["--no-realtime", "--quiet", "--speed", "4", *options]
        with (folder / "output").open("ab") as file:
            out = file.fileno() if output is None else output
            command = python_module("runtime.cli", "serve", *arguments)
            # A driver of somebody's own is found in the folder in which the server is started.
            self.process = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *reason: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()

    def client(self) -> Client:
        """A client that waits for the server to be ready."""
        return Client(str(self.socket), timeout_s=_PATIENCE_S)

    def listener(self) -> int:
        """Process id of the listener."""
        return listener_and_gateway(self.process.pid)[0]

    def gateway(self) -> int:
        """Process id of the gateway."""
        return listener_and_gateway(self.process.pid)[1]


def goal_within(model: Path, share: float, **more: object) -> GoalPose:
    """A goal in the policy's workspace, at this share of its width along y; `more` are fields of `GoalPose`."""
    contract: Contract = Policy(model).contract
    corners = zip(contract.goal.position_min_m, contract.goal.position_max_m, (0.5, share, 0.5), strict=True)
    x, y, z = (low + part * (high - low) for low, high, part in corners)
    return GoalPose(position=(x, y, z), **more)


def until(done: Callable[[], bool]) -> bool:
    """Wait for it; whether it came to be."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        if done():
            return True
        time.sleep(0.02)
    return False


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
