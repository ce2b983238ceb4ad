"""Drivers of somebody's own that fail in a served robot, each in its own way."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol

import pytest

from runtime.protocol.client import Client
from sim2real.child_process import python_module, python_program
from sim2real.errors import ShoalError
from sim2real.logs.recording import read_recording

PATIENCE_S = 120
DRIVER = """
import sys, time
from runtime.drivers.mujoco import MujocoDriver

class Driver(MujocoDriver):
    calls = 0

    def now(self, method):
        self.calls += 1
        if method == {method!r} and self.calls > {after}:
            {fault}

    def __init__(self, contract, options):
        self.now("__init__")
        super().__init__(contract, options)

    def read(self, out):
        self.now("read")
        super().read(out)

    def write(self, command):
        self.now("write")
        super().write(command)

    def close(self):
        self.now("close")
        super().close()
"""


HANGS_S = 30
"""How long a fault hangs that should be cut short; what has waited for its end fails."""
DEAF = f"""
            end_s = time.monotonic() + {HANGS_S}
            while time.monotonic() < end_s:
                try:
                    time.sleep({HANGS_S})
                except BaseException:
                    pass"""


class Served(NamedTuple):
    """A server that has ended."""

    status: int
    said: str
    summary: dict
    record: Path


class Start(Protocol):
    """Starts a server whose driver is at fault."""

    def __call__(self, *arguments: str, method: str, fault: str, after: int = 0) -> subprocess.Popen[str]: ...


@pytest.fixture
def start(policy_path: Path, tmp_path: Path) -> Iterator[Start]:
    """Whatever becomes of the test, no server outlasts it."""
    servers = []

    def start(*arguments: str, **driver: object) -> subprocess.Popen[str]:
        (tmp_path / "own.py").write_text(DRIVER.format(**{"after": 0} | driver))
        options = ("--model", str(policy_path.absolute()), "--socket", "s", "--no-realtime", "--speed", "4")
        options += ("--robot", "own:Driver", "--record", "run.mcap", "--json", "summary.json", *arguments)
        server = subprocess.Popen(
            python_module("runtime.cli", "serve", *options),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        servers.append(server)
        return server

    yield start
    for server in servers:
        with server:
            server.kill()


def ended(server: subprocess.Popen[str], folder: Path) -> Served:
    said = server.communicate(timeout=PATIENCE_S)[0]
    return Served(server.returncode, said, json.loads((folder / "summary.json").read_text()), folder / "run.mcap")


def ends(server: subprocess.Popen[str], folder: Path, *, ticks: int = 500) -> bool:
    """Whether a server ends that is asked to, again and again: one that has ticked so often since goes on, however busy
    the machine is.
    """
    first = None
    while server.poll() is None:
        server.send_signal(signal.SIGTERM)
        with suppress(ShoalError), Client(str(folder / "s")) as client:
            now = client.status().ticks
            first = now if first is None else first
            if now > first + ticks:
                return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize(
    ("method", "fault", "sentence", "braked"),
    [
        ("read", "raise OSError('the bus is gone')", "read raised OSError: the bus is gone (own.py:11)", True),
        ("read", "__import__('os')._exit(0)", "read ended the program (os._exit(0)) (own.py:11)", True),
        ("write", "sys.exit('no')", "write ended the program (sys.exit('no')) (own.py:11)", False),
    ],
)
def test_one_sentence_a_summary_and_a_recording_with_its_index(
    start: Start, tmp_path: Path, method: str, fault: str, sentence: str, braked: bool
) -> None:
    server = ended(start(method=method, after=200, fault=fault), tmp_path)
    assert server.status == 2
    assert f"error: driver own:Driver: {sentence}.\n" in server.said
    assert "Traceback" not in server.said
    assert "ended by the driver's failure after" in server.said
    assert server.summary["failures"] == [f"driver own:Driver: {sentence}."]
    assert server.summary["braked"] is braked
    recording = read_recording(server.record)
    assert recording.complete
    assert not (tmp_path / "s").exists()


def test_a_driver_that_blocks_for_good_does_not_keep_a_server_from_its_end(start: Start, tmp_path: Path) -> None:
    server = start(method="read", after=200, fault=f"time.sleep({HANGS_S})")
    with Client(str(tmp_path / "s"), timeout_s=PATIENCE_S) as client:
        while client.status().age_s < 0.5:
            pass
    server.send_signal(signal.SIGTERM)
    served = ended(server, tmp_path)
    assert served.status == 2
    assert "driver own:Driver: read did not return within 1.01 s of SIGTERM" in served.said
    assert "(own.py:11)" in served.said
    assert served.summary["braked"] is True
    assert read_recording(served.record).complete


@pytest.mark.parametrize(("method", "after"), [("read", 200), ("write", 0)])
def test_a_driver_that_hears_nothing_is_told_of_and_left(start: Start, tmp_path: Path, method: str, after: int) -> None:
    """It catches what interrupts it: status and stop say so, and the server ends all the same."""
    server = start(method=method, after=after, fault=DEAF)
    silent = f"the driver's {method} has not returned for "
    with Client(str(tmp_path / "s"), timeout_s=PATIENCE_S) as client:
        while silent not in client.status().line:
            assert server.poll() is None
            time.sleep(0.1)
        assert bool(client.status().ticks) == bool(after)
    with Client(str(tmp_path / "s")) as client, pytest.raises(ShoalError, match=silent):
        client.stop()
    server.send_signal(signal.SIGTERM)
    said = server.communicate(timeout=PATIENCE_S)[0]
    assert server.returncode == 2
    assert f"error: driver own:Driver: {method} does not return, not even when it is interrupted; the robot" in said
    assert "without a summary" not in said


TAKEN = "[{take} for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]"
IGNORES = f"import signal; {TAKEN.format(take='signal.signal(number, signal.SIG_IGN)')}"


@pytest.mark.parametrize(
    ("method", "take"),
    [
        ("__init__", "signal.signal(number, print)"),
        ("__init__", "ctypes.CDLL(None).signal(int(number), 1)"),
        ("__init__", "signal.pthread_sigmask(signal.SIG_BLOCK, {number})"),
        ("read", "signal.signal(number, signal.SIG_IGN)"),
    ],
)
def test_signals_that_a_driver_takes_are_taken_back(start: Start, tmp_path: Path, method: str, take: str) -> None:
    server = start(method=method, fault=f"import ctypes, signal; {TAKEN.format(take=take)}; self.calls = -10**9")
    with Client(str(tmp_path / "s"), timeout_s=PATIENCE_S) as client:
        client.status()
    assert ends(server, tmp_path)
    said = server.communicate()[0]
    assert "the driver own:Driver has taken SIGTERM, SIGINT, SIGHUP for itself; this server has taken them back" in said
    assert "ended by SIGTERM" in said
    # Asked once more while the interpreter closes, when nobody listens any more, it ends at once.
    assert server.returncode in (0, -signal.SIGTERM)


@pytest.mark.parametrize("before", ["pass", IGNORES])
def test_a_start_that_hears_nothing_is_left(start: Start, tmp_path: Path, before: str) -> None:
    server = start(method="__init__", fault=f"{before}; print('begun', flush=True){DEAF}")
    assert server.stdout is not None
    assert server.stdout.readline() == "begun\n"
    assert ends(server, tmp_path)
    said = server.communicate()[0]
    assert server.returncode == 2
    assert "error: driver own:Driver: its start does not return, not even when it is interrupted; the robot was" in said


def test_a_start_that_ends_the_process_is_no_success(start: Start) -> None:
    server = start(method="__init__", fault="__import__('os')._exit(0)")
    said = server.communicate(timeout=PATIENCE_S)[0]
    assert (server.returncode, said) == (
        2,
        "error: driver own:Driver: its start ended the program (os._exit(0)) (own.py:11).\n",
    )


def test_a_close_that_ends_the_process_is_no_success_and_comes_after_the_summary(start: Start, tmp_path: Path) -> None:
    fault = "print('closing', flush=True); __import__('os')._exit(0)"
    served = ended(start("--duration", "1", method="close", fault=fault), tmp_path)
    assert served.status == 2
    assert served.said.index("ended by duration after") < served.said.index("closing")
    assert served.said.endswith("error: driver own:Driver: close ended the program (os._exit(0)) (own.py:11).\n")
    assert served.summary["failures"] == ["driver own:Driver: close ended the program (os._exit(0)) (own.py:11)."]


@pytest.mark.parametrize("how", ["__import__('os').kill(__import__('os').getpid(), 9)", "ctypes.CDLL(None)._exit(0)"])
def test_a_driver_that_ends_the_process_is_told_of_by_another(start: Start, how: str) -> None:
    server = start(method="read", after=200, fault=f"import ctypes; {how}")
    said = server.communicate(timeout=PATIENCE_S)[0]
    assert said.count("error: the control process ended without a summary") == 1


def test_closed_descriptors_are_told_in_a_sentence(start: Start, tmp_path: Path) -> None:
    fault = "__import__('os').closerange(3, 1000); self.calls = -10**9"
    server = ended(start(method="read", after=200, fault=fault), tmp_path)
    assert server.status == 2
    assert "error: driver own:Driver: it closed file descriptors that are the server's own.\n" in server.said
    assert "Traceback" not in server.said
    assert server.said.count("error: ") == 1
    assert server.summary["braked"] is True


BLIND_DRIVER = """
from pathlib import Path
from runtime.drivers.mujoco import MujocoDriver

class Driver(MujocoDriver):
    def read(self, out):
        super().read(out)
        if not Path("go").exists():
            out.vector.fill(float("nan"))
"""


def test_nobody_is_ready_before_a_reading_can_be_followed(policy_path: Path, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(BLIND_DRIVER)
    options = ("--model", str(policy_path.absolute()), "--socket", "s", "--no-realtime", "--robot", "own:Driver")
    output = tmp_path / "output"
    with output.open("w") as file:
        server = subprocess.Popen(python_module("runtime.cli", "serve", *options), cwd=tmp_path, stdout=file)

    def says(words: str) -> None:
        while words not in output.read_text():
            assert server.poll() is None
            time.sleep(0.05)

    try:
        with Client(str(tmp_path / "s"), timeout_s=PATIENCE_S) as client:
            says("waiting    no reading can be followed yet: a reading is not finite")
            assert client.status().state in ("hold", "damp")
            assert "ready  " not in output.read_text()
            (tmp_path / "go").touch()
            says("ready  ")
            client.stop()
        assert server.wait(PATIENCE_S) == 0
    finally:
        server.kill()
        server.wait()


def test_last_words_are_read_after_megabytes_of_a_driver_that_fails_to_close(start: Start, tmp_path: Path) -> None:
    fault = "print('x' * 4_000_000); raise OSError('still held')"
    served = ended(start("--duration", "1", method="close", fault=fault), tmp_path)
    assert served.status == 2
    assert "ended by duration after" in served.said
    assert served.said.endswith("error: driver own:Driver: close raised OSError: still held (own.py:11).\n")
    assert served.summary["status"]["state"] == "stopped"
    assert read_recording(served.record).complete


def test_a_start_that_fails_is_told_with_what_failed_at_its_end(start: Start, tmp_path: Path) -> None:
    goals = tmp_path / "goals.yaml"
    goals.write_text("- {position: [9, 9, 9]}\n")
    server = start("--goals", str(goals), method="close", after=0, fault="raise OSError('still held')")
    said = server.communicate(timeout=PATIENCE_S)[0]
    assert server.returncode == 2
    assert "x=9 m is outside the workspace" in said
    assert "driver own:Driver: close raised OSError: still held (own.py:11)." in said
    assert "Traceback" not in said


_DEAF_CLOSE = """
import time
from runtime.drivers.calls import CALLS
from runtime.server.last_resort import LastResort

class Driver:
    call, begun, period_s = [CALLS.index("close")], 0, 0.0

with LastResort("own:Driver", seconds=0.1, close_s=1.5, look=lambda: None) as last_resort:
    last_resort.driver = Driver()
    last_resort.on_end = lambda: print("the end", flush=True)
    last_resort.expect_end()
    time.sleep(20)
"""


def test_a_close_is_said_to_be_waited_for_and_then_no_longer_waited_for() -> None:
    done = subprocess.run(python_program(_DEAF_CLOSE), capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stdout) == (2, "the end\n")
    assert done.stderr.splitlines() == [
        "waiting    for the driver own:Driver to close, 1.5 s at most",
        "error: driver own:Driver: close does not return, not even when it is interrupted; the robot holds what it was "
        "told last.",
    ]
