"""A served robot in processes of its own, and how to find them, for those who kill them."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from runtime.diagnostics.chaos.rig import goal_at
from runtime.diagnostics.chaos.scenario import Subject
from runtime.goals.messages import GoalValues
from runtime.process.watching import LONGEST_START_S
from runtime.protocol.client import Client
from runtime.status import State
from sim2real.child_process import python_module
from sim2real.errors import ShoalError

_LISTENER = b"runtime.server.listener"
"""What the listener process is started as; the gateway is its fork."""
_PATIENCE_S = 60.0
STATES = {state.label: state for state in State}

Served = tuple[State, list[str]]
"""The state at the end, and what was wrong."""


class Server:
    """`runtime serve` in a process of its own, with the simulated robot at four times its speed."""

    def __init__(self, robot: Subject, folder: Path, *options: str, output: int | None = None) -> None:
        """`output` is a descriptor that what it says goes to, instead of the file `output` in `folder`."""
        self.socket, settings = folder / "s", folder / "safety.yaml"
        # These scenarios are about something else, and must come out the same on a machine that is busy.
        told = robot.safety.model_dump(mode="json", exclude_unset=True) | {"overruns_in_a_row": None}
        settings.write_text(json.dumps(told))
        options += ("--mjcf", str(robot.mjcf.absolute())) if robot.mjcf is not None else ()
        arguments = ["--model", str(robot.model.absolute()), "--socket", str(self.socket), "--safety", str(settings)]
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


def goal_within(robot: Subject, share: float, **more: object) -> GoalValues:
    """A goal in the middle of what may be asked for, at this share of the way along y; `more` are its other fields."""
    contract = robot.contract
    request = goal_at(contract, share).request
    values = {name: request[part] for name, part in contract.goal.layout(contract).slices.items()}
    return GoalValues(values=values, **more)


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

    Raises `ShoalError` if they do not come up, with what there is instead.
    """
    deadline = time.monotonic() + _PATIENCE_S + LONGEST_START_S
    while True:
        listed, running = _listed(control)
        for pid, parent in listed.items():
            if listed.get(parent) == control:
                return parent, pid
        if not running or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    children = [str(pid) for pid, parent in listed.items() if parent == control]
    there = f"only {', '.join(children)}, without a child" if children else "none at all"
    raise ShoalError(
        f"chaos: process {control} {'runs' if running else 'has ended'} and has no listener with a gateway, {there}."
    )


def in_reserve(control: int) -> int:
    """Process id of the listener process that waits for the other one's end; 0 if there is none now."""
    listed, _ = _listed(control)
    waiting = [pid for pid, parent in listed.items() if parent == control and pid not in listed.values()]
    return waiting[0] if len(waiting) == 1 and len(listed) > 2 else 0


def _listed(control: int) -> tuple[dict[int, int], bool]:
    """The parent of each listener process and gateway that lives, and whether the control process does."""
    command = ["ps", "-A", "-ww", "-o", "pid=,ppid=,stat=,args="]
    # Arguments are whatever bytes other people's programs were given.
    lines = subprocess.run(command, capture_output=True, check=True).stdout.split(b"\n")
    rows = [line.split(None, 3) for line in lines]
    living = [row for row in rows if len(row) > 3 and not row[2].startswith(b"Z")]
    return (
        {int(pid): int(parent) for pid, parent, _, arguments in living if _LISTENER in arguments},
        any(int(row[0]) == control for row in living),
    )
