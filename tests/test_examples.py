"""Every file in `examples/` runs as its first line says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from shoal import Client

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
POLICY = str(ROOT / "models" / "franka_pose.onnx")
NOTEBOOKS = {"dataset.ipynb": r"3 episodes, \d+ frames.*episode 2: \d+ frames, from 0\.\d+ m to 0\.00\d m"}
"""And what each prints."""
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
"""Console scripts of the interpreter that runs the tests are found first."""
RUNTIME = [sys.executable, "-m", "runtime.cli"]


def run(name: str, *arguments: str) -> str:
    environment = os.environ | {"PATH": PATH}
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
    assert {file.name for file in EXAMPLES.rglob("*.ipynb")} == {*NOTEBOOKS}


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_from_above_to_below_and_is_kept_without_outputs(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = EXAMPLES / name
    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [(cell.outputs, cell.execution_count) for cell in cells] == [([], None)] * len(cells)
    monkeypatch.setenv("PATH", PATH)
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": path.parent}})
    client.execute()  # raises on the first cell that does
    outputs = [output for cell in cells for output in cell.outputs]
    printed = "".join(output.get("text", "") for output in outputs)
    assert re.search(NOTEBOOKS[name], printed, re.DOTALL), printed
    assert any("image/png" in output.get("data", {}) for output in outputs)


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
