"""What terminals, signals and optional parts do to a server, and what they cannot."""

from __future__ import annotations

import math
import os
import pty
import shutil
import signal
import socket
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from runtime.diagnostics.chaos.served.server import listener_and_gateway
from runtime.goals.messages import GoalPose
from runtime.options import ServeOptions
from runtime.protocol.client import Client
from runtime.server.control_process import serve
from sim2real.child_process import free_port, python_module
from sim2real.errors import ShoalError
from sim2real.logs.recording import read_recording
from tests.runtime.server.test_server import Server

PATIENCE_S = 120
FAR = GoalPose(position=(0.6, -0.2, 0.6), id="far")


@contextmanager
def running(policy: Path, folder: Path, *arguments: str) -> Iterator[Server]:
    with Server(policy, folder, "--speed", "4", *arguments) as server:
        yield server


def until(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)
    return holds()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGQUIT, signal.SIGINT])
def test_every_signal_that_ends_brakes_closes_and_writes_the_index(
    policy_path: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """Sent to every process of the server, twice, as a terminal and impatient people do."""
    path = tmp_path / "run.mcap"
    with running(policy_path, tmp_path, "--record", str(path)) as server:
        with server.client() as client:
            client.send_goal(FAR)
            assert until(lambda: client.status().state == "active")
        group = [server.gateway_pid(), server.listener_pid(), server.process.pid]
        for _ in range(2):
            for pid in group:
                os.kill(pid, number)
        output = server.output()
    assert server.process.returncode == 0, output
    assert f"ended by {number.name}" in output
    assert "Traceback" not in output
    assert server.summary()["status"]["state"] == "stopped"
    recording = read_recording(path)
    assert recording.complete
    # To rest, and not just until the signal: the last two targets are one.
    last, before = recording.ticks[-1]["command"], recording.ticks[-2]["command"]
    assert max(abs(a - b) for a, b in zip(last, before, strict=True)) < 1e-4
    assert recording.ticks[-1]["state"] == "stopped"
    assert not server.socket.exists()


def test_sighup_that_nohup_ignores_stays_ignored(policy_path: Path, tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        server = Server(policy_path, tmp_path, "--speed", "4")
    finally:
        signal.signal(signal.SIGHUP, before)
    with server.client() as client:
        server.process.send_signal(signal.SIGHUP)
        ticks = client.status().ticks
        assert until(lambda: client.status().ticks > ticks + 10)
        client.stop()
    assert "ended by stop request" in server.output()


def test_ctrl_z_suspends_no_robot(policy_path: Path, tmp_path: Path) -> None:
    with running(policy_path, tmp_path) as server, server.client() as client:
        client.status()
        for pid in (server.process.pid, server.listener_pid(), server.gateway_pid()):
            for number in (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
                os.kill(pid, number)
        ticks = client.status().ticks
        assert until(lambda: client.status().ticks > ticks + 10)


@pytest.mark.parametrize("stalled", ["pipe", "terminal"])
def test_a_stalled_display_stops_neither_requests_nor_the_end(policy_path: Path, tmp_path: Path, stalled: str) -> None:
    """Goals change all the time, so that the display has more to say than a pipe or a terminal holds."""
    ours, theirs = pty.openpty() if stalled == "terminal" else os.pipe()
    if stalled == "terminal":
        termios.tcflow(theirs, termios.TCOOFF)
    options = ("--model", str(policy_path), "--socket", str(tmp_path / "s"), "--no-realtime", "--speed", "40")
    os.set_blocking(theirs, True)
    process = subprocess.Popen(
        python_module("runtime.cli", "serve", *options),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    try:
        if stalled == "pipe":
            fill(theirs)
        with Client(str(tmp_path / "s"), timeout_s=PATIENCE_S) as client:
            client.status()
            pid = listener_and_gateway(process.pid)[1]
            for number in range(300):
                client.send_goal(GoalPose(position=(0.45 + 0.0001 * number, 0.1, 0.45)))
            assert client.estop().state == "estop"
            assert listener_and_gateway(process.pid)[1] == pid
            client.stop()
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()
        os.close(theirs)
        os.close(ours)


def fill(pipe: int) -> None:
    """So that not one byte more goes in."""
    os.set_blocking(pipe, False)
    try:
        for size in (65536, 1):
            with suppress(BlockingIOError):
                while True:
                    os.write(pipe, b"x" * size)
    finally:
        os.set_blocking(pipe, True)


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_times_that_are_no_numbers_are_refused_all_at_once(policy_path: Path, value: float) -> None:
    with pytest.raises(ShoalError, match=f"--duration {value:g}, --spin-us {value:g}: give a number of 0 or more"):
        serve(ServeOptions(policy_path, duration=value, spin_us=value))


def test_a_taken_port_of_the_metrics_is_refused_at_the_start(policy_path: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = Server(policy_path, tmp_path, "--metrics", str(taken.getsockname()[1]))
        output = server.output()
    assert server.process.returncode == 2
    assert "--metrics: cannot listen on tcp://127.0.0.1" in output
    assert "ready      " not in output


def test_metrics_and_page_on_one_port_are_refused(policy_path: Path, tmp_path: Path) -> None:
    port = str(free_port())
    server = Server(policy_path, tmp_path, "--metrics", port, "--page", port)
    output = server.output()
    assert (server.process.returncode, "--metrics: cannot listen" in output) == (2, True)


def test_optional_parts_that_fail_later_are_switched_off_and_the_rest_goes_on(
    policy_path: Path, tmp_path: Path
) -> None:
    """A gateway that takes another one's place finds neither the recording's folder nor the port of the metrics."""
    folder, port = tmp_path / "recordings", free_port()
    folder.mkdir()
    options = ("--record", str(folder / "run.mcap"), "--metrics", str(port))
    with running(policy_path, tmp_path, *options) as server, server.client() as client:
        client.send_goal(FAR)
        old, listener = server.gateway_pid(), server.listener_pid()
        # Nobody has a gateway take the other one's place before the port is taken.
        for pid in (server.process.pid, listener):
            os.kill(pid, signal.SIGSTOP)
        os.kill(old, signal.SIGKILL)
        shutil.rmtree(folder)
        taken: list[socket.socket] = []

        def take() -> bool:
            """As soon as the killed gateway's port is free."""
            with suppress(OSError):
                taken.append(socket.create_server(("127.0.0.1", port)))
            return bool(taken)

        try:
            assert until(take)
        finally:
            for pid in (listener, server.process.pid):
                os.kill(pid, signal.SIGCONT)
        with taken[0]:
            assert until(lambda: server.gateway_pid() != old)
            assert client.status().goal_id == "far"
        assert client.estop().state == "estop"
        client.stop()
        output = server.output()
    assert server.process.returncode == 0, output
    assert output.count("recording  stopped: ") == output.count("metrics    off: ") == 1, output
    assert "Traceback" not in output


def test_a_gateway_that_cannot_start_ends_the_server_with_a_sentence(policy_path: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nif 'runtime.server.listener' in ' '.join(sys.orig_argv): sys.exit('no such luck')\n"
    )
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(tmp_path), before)))
    try:
        server = Server(policy_path, tmp_path)
    finally:
        os.environ["PYTHONPATH"] = before or ""
    output = server.output()
    assert server.process.returncode == 2, output
    assert "gateway: it ended with status 1; its own message is above" in output
    assert "no such luck" in output
    assert "ready      " not in output
