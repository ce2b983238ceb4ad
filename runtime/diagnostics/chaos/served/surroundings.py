"""Faults of what a server stands among: its terminal, its disk, its ports, and the driver that somebody wrote."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runtime.diagnostics.chaos.rig import FOLLOWS
from runtime.diagnostics.chaos.scenario import Scenario, Subject
from runtime.diagnostics.chaos.served.server import Served, Server, goal_within, listener_and_gateway, until
from runtime.protocol.client import Client
from runtime.status import State
from sim2real.logs.recording import read_recording

_STATES = {state.label: state for state in State}
_PATIENCE_S, _AT_REST = 60.0, 1e-4


def surrounding_scenarios() -> Iterator[Scenario]:
    """Scenarios with a served robot in processes of its own."""
    yield Scenario(
        "stalled terminal",
        "the server's output takes nothing any more, as after Ctrl-S, while goals and an emergency stop are sent",
        "what would be shown is dropped; estop, from the same processes",
        frozenset({State.ESTOP}),
        run_served=_stalled_terminal,
    )
    yield Scenario(
        "lost terminal",
        "SIGHUP to every process of the server on the way, twice",
        "braking to rest, a clean end, and a recording with its index",
        frozenset({State.STOPPED}),
        run_served=_lost_terminal,
    )
    yield Scenario(
        "taken port",
        "another program has the port of the metrics when the server starts",
        "the start is refused before anything moves; without the metrics it is served",
        frozenset({State.IDLE}),
        run_served=_taken_port,
    )
    yield Scenario(
        "vanished recording",
        "the recording's folder is deleted on the way",
        "the recording is switched off with one line; followed",
        FOLLOWS,
        run_served=_vanished_recording,
    )
    yield Scenario(
        "failing driver",
        "a driver of somebody's own raises in `read` on the way",
        "braking to rest by what is known, one sentence with the driver's line, and a recording with its index",
        frozenset({State.STOPPED}),
        run_served=_failing_driver,
    )


def _stalled_terminal(robot: Subject, folder: Path) -> Served:
    problems = []
    with _full_pipe() as pipe, Server(robot, folder, output=pipe) as server, server.client() as client:
        client.status()
        before = listener_and_gateway(server.process.pid)
        for number in range(100):
            client.send_goal(goal_within(robot, 0.3 + 0.004 * number))
        with Client(str(server.socket), timeout_s=_PATIENCE_S) as other:
            state = _STATES[other.estop().state]
        if listener_and_gateway(server.process.pid) != before:
            problems.append("listener or gateway had to be replaced")
        return state, problems


def _lost_terminal(robot: Subject, folder: Path) -> Served:
    problems, path = [], folder / "run.mcap"
    with Server(robot, folder, "--record", str(path)) as server:
        with server.client() as client:
            client.send_goal(goal_within(robot, 0.8))
            until(lambda: client.status().state == "active")
        # Looked up once: at the second signal the first may have ended them all.
        group = *listener_and_gateway(server.process.pid), server.process.pid
        for pid in group * 2:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGHUP)
        if server.process.wait(_PATIENCE_S) != 0:
            problems.append(f"it ended with status {server.process.returncode}")
    recording = read_recording(path)
    if not recording.complete:
        problems.append("the recording has no index")
    return _STATES[recording.ticks[-1]["state"]], problems


_FAILING_DRIVER = """
from runtime.drivers.mujoco import MujocoDriver

class Driver(MujocoDriver):
    left = 1 << 30

    def show_goal(self, goal):
        self.left = 50

    def read(self, out):
        self.left -= 1
        if self.left < 0:
            raise OSError("the bus is gone")
        super().read(out)
"""


def _failing_driver(robot: Subject, folder: Path) -> Served:
    problems, path = [], folder / "run.mcap"
    (folder / "failing.py").write_text(_FAILING_DRIVER)
    with Server(robot, folder, "--robot", "failing:Driver", "--record", str(path)) as server, server.client() as client:
        client.send_goal(goal_within(robot, 0.8))
        if server.process.wait(_PATIENCE_S) != 2:
            problems.append(f"it ended with status {server.process.returncode}")
    said = (folder / "output").read_text()
    if "error: driver failing:Driver: read raised OSError: the bus is gone (failing.py:13).\n" not in said:
        problems.append("the driver's error was not told")
    if "Traceback" in said or "ended by the driver's failure after" not in said:
        problems.append(f"it said: {said}")
    recording = read_recording(path)
    if not recording.complete:
        problems.append("the recording has no index")
    last, before = recording.ticks[-1]["command"], recording.ticks[-2]["command"]
    if max(abs(a - b) for a, b in zip(last, before, strict=True)) > _AT_REST:
        problems.append("the robot was not brought to rest")
    return _STATES[recording.ticks[-1]["state"]], problems


def _taken_port(robot: Subject, folder: Path) -> Served:
    problems = []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with Server(robot, folder, "--metrics", str(taken.getsockname()[1])) as refused:
            if refused.process.wait(_PATIENCE_S) != 2:
                problems.append(f"it ended with status {refused.process.returncode}")
        said = (folder / "output").read_text()
        if "--metrics: cannot listen" not in said or "ready  " in said:
            problems.append(f"it said: {said}")
        with Server(robot, folder) as server, server.client() as client:
            return _STATES[client.status().state], problems


def _vanished_recording(robot: Subject, folder: Path) -> Served:
    problems, recordings = [], folder / "recordings"
    recordings.mkdir()
    output = folder / "output"
    with Server(robot, folder, "--record", str(recordings / "run.mcap")) as server, server.client() as client:
        client.send_goal(goal_within(robot, 0.8))
        gateway = server.gateway()
        shutil.rmtree(recordings)
        if not until(lambda: "recording  stopped: " in output.read_text()):
            problems.append("nobody was told")
        state = _STATES[client.status().state]
        if server.gateway() != gateway:
            problems.append("the gateway had to be replaced")
    if output.read_text().count("recording  stopped: ") != 1 or "Traceback" in output.read_text():
        problems.append("it was said more than once")
    return state, problems


@contextmanager
def _full_pipe() -> Iterator[int]:
    """The end to write to, of a pipe that nobody reads and that takes not one byte more."""
    ours, theirs = os.pipe()
    try:
        os.set_blocking(theirs, False)
        for size in (65536, 1):
            with suppress(BlockingIOError):
                while True:
                    os.write(theirs, b"x" * size)
        os.set_blocking(theirs, True)
        yield theirs
    finally:
        os.close(ours)
        os.close(theirs)
