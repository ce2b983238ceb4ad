"""Every file in `examples/` runs as its first line says."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shoal import Client

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
POLICY = str(ROOT / "models" / "franka_pose.onnx")
RUNTIME = [sys.executable, "-m", "runtime.cli"]


def run(name: str, *arguments: str) -> str:
    # Console scripts of the interpreter that runs the tests are found first.
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@contextmanager
def server(*arguments: str, until: Path) -> Iterator[None]:
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{EXAMPLES}"}
    process = subprocess.Popen([*RUNTIME, *arguments], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        while not until.exists():
            assert process.poll() is None, "the server ended"
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.communicate()


def test_every_example_is_tested() -> None:
    tested = {"control_loop.py", "goal_client.py", "own_driver.py", "own_task.py", "policy_over_socket.py"}
    assert {file.name for file in EXAMPLES.glob("*.py")} == tested


def test_control_loop() -> None:
    assert "REACHED" in run("control_loop.py", POLICY)


def test_goal_client_with_own_driver(tmp_path: Path) -> None:
    socket = tmp_path / "s"
    serve = ("serve", "--model", POLICY, "--robot", "own_driver:ReversedServo", "--no-realtime", "--quiet")
    with server(*serve, "--socket", str(socket), until=socket):
        with Client(str(socket), timeout_s=300) as client:  # it listens before it has compiled and looked at the policy
            client.status()
        printed = run("goal_client.py", str(socket))
    assert [line.split(" | ")[0].rpartition(" ")[2] for line in printed.splitlines()] == ["reached", "reached"], printed


def test_own_task(tmp_path: Path) -> None:
    assert "('shoulder', 'elbow')" in run("own_task.py", str(tmp_path))
    assert list((tmp_path / "teacher").iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="the policy server's socket is one of Linux")
def test_policy_over_socket(tmp_path: Path) -> None:
    socket = tmp_path / "p"
    with server("policy-server", "--model", POLICY, "--socket", str(socket), "--no-realtime", until=socket):
        printed = run("policy_over_socket.py", str(socket))
    assert printed.startswith("reached True")
