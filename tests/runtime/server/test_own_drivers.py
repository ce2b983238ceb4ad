"""Drivers of somebody's own that fail in a served robot, each in its own way."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from runtime.protocol.client import Client
from sim2real.child_process import python_module
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


class Served(NamedTuple):
    """A server that has ended."""

    status: int
    said: str
    summary: dict
    record: Path


def serve(policy: Path, folder: Path, *arguments: str, **driver: object) -> subprocess.Popen[str]:
    (folder / "own.py").write_text(DRIVER.format(**driver))
    options = ("--model", str(policy.absolute()), "--socket", "s", "--no-realtime", "--speed", "4")
    options += ("--robot", "own:Driver", "--record", "run.mcap", "--json", "summary.json", *arguments)
    return subprocess.Popen(
        python_module("runtime.cli", "serve", *options),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(server: subprocess.Popen[str], folder: Path) -> Served:
    said = server.communicate(timeout=PATIENCE_S)[0]
    return Served(server.returncode, said, json.loads((folder / "summary.json").read_text()), folder / "run.mcap")


@pytest.mark.parametrize(
    ("method", "fault", "sentence", "braked"),
    [
        ("read", "raise OSError('the bus is gone')", "read raised OSError: the bus is gone (own.py:11)", True),
        ("write", "sys.exit('no')", "write ended the program (sys.exit('no')) (own.py:11)", False),
    ],
)
def test_one_sentence_a_summary_and_a_recording_with_its_index(
    policy_path: Path, tmp_path: Path, method: str, fault: str, sentence: str, braked: bool
) -> None:
    server = ended(serve(policy_path, tmp_path, method=method, after=200, fault=fault), tmp_path)
    assert server.status == 2
    assert f"error: driver own:Driver: {sentence}.\n" in server.said
    assert "Traceback" not in server.said
    assert "ended by the driver's failure after" in server.said
    assert server.summary["failures"] == [f"driver own:Driver: {sentence}."]
    assert server.summary["braked"] is braked
    recording = read_recording(server.record)
    assert recording.complete
    assert not (tmp_path / "s").exists()


def test_a_driver_that_blocks_for_good_does_not_keep_a_server_from_its_end(policy_path: Path, tmp_path: Path) -> None:
    server = serve(policy_path, tmp_path, method="read", after=200, fault="time.sleep(600)")
    with Client(str(tmp_path / "s"), timeout_s=PATIENCE_S) as client:
        while client.status().age_s < 0.5:
            pass
    server.send_signal(signal.SIGTERM)
    served = ended(server, tmp_path)
    assert served.status == 2
    assert "driver own:Driver: read did not return for 1" in served.said
    assert "(own.py:11)" in served.said
    assert served.summary["braked"] is True
    assert read_recording(served.record).complete


@pytest.mark.parametrize("method", ["read", "write"])
def test_a_driver_that_hears_nothing_is_told_of_and_left(policy_path: Path, tmp_path: Path, method: str) -> None:
    """It catches what interrupts it: status and stop say so, and the server ends all the same."""
    fault = """
            while True:
                try:
                    time.sleep(600)
                except BaseException:
                    pass"""
    server = serve(policy_path, tmp_path, method=method, after=200, fault=fault)
    silent = f"the driver's {method} has not returned for "
    try:
        with Client(str(tmp_path / "s"), timeout_s=PATIENCE_S) as client:
            while silent not in client.status().line:
                assert server.poll() is None
                time.sleep(0.1)
        with Client(str(tmp_path / "s")) as client, pytest.raises(ShoalError, match=silent):
            client.stop()
        server.send_signal(signal.SIGTERM)
        said = server.communicate(timeout=PATIENCE_S)[0]
    finally:
        server.kill()
        server.wait()
    assert server.returncode == 2
    assert f"error: driver own:Driver: {method} does not return, not even when it is interrupted; the robot" in said
    assert "without a summary" not in said


def test_a_driver_that_ends_the_process_is_told_of_by_another(policy_path: Path, tmp_path: Path) -> None:
    server = serve(policy_path, tmp_path, method="read", after=200, fault="__import__('os')._exit(0)")
    said = server.communicate(timeout=PATIENCE_S)[0]
    assert said.count("error: the control process ended without a summary") == 1


def test_closed_descriptors_are_told_in_a_sentence(policy_path: Path, tmp_path: Path) -> None:
    fault = "__import__('os').closerange(3, 1000); self.calls = -10**9"
    server = ended(serve(policy_path, tmp_path, method="read", after=200, fault=fault), tmp_path)
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


def test_last_words_are_read_after_megabytes_of_a_driver_that_fails_to_close(policy_path: Path, tmp_path: Path) -> None:
    fault = "print('x' * 4_000_000); raise OSError('still held')"
    served = ended(serve(policy_path, tmp_path, "--duration", "1", method="close", after=0, fault=fault), tmp_path)
    assert served.status == 2
    assert "ended by duration after" in served.said
    assert served.said.endswith("error: driver own:Driver: close raised OSError: still held (own.py:11).\n")
    assert served.summary["status"]["state"] == "stopped"
    assert read_recording(served.record).complete


def test_a_start_that_fails_is_told_with_what_failed_at_its_end(policy_path: Path, tmp_path: Path) -> None:
    goals = tmp_path / "goals.yaml"
    goals.write_text("- {position: [9, 9, 9]}\n")
    server = serve(
        policy_path, tmp_path, "--goals", str(goals), method="close", after=0, fault="raise OSError('still held')"
    )
    said = server.communicate(timeout=PATIENCE_S)[0]
    assert server.returncode == 2
    assert "x=9 m is outside the workspace" in said
    assert "driver own:Driver: close raised OSError: still held (own.py:11)." in said
    assert "Traceback" not in said
