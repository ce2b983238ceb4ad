"""`runtime serve` started in the folder of somebody who has files of his own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from runtime.protocol.client import Client
from sim2real.child_process import python_module

PATIENCE_S = 120
_DRIVER = """
from runtime.drivers.mujoco import MujocoDriver

class Driver(MujocoDriver):
    def __init__(self, contract, options):
        super().__init__(contract, options)
        self.description = "a driver of my own"
"""


def serve(policy: Path, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    options = ("--model", str(policy), "--socket", "s", "--no-realtime", *arguments)
    return subprocess.Popen(
        python_module("runtime.cli", "serve", *options),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_package_named_runtime_and_a_driver_in_the_current_folder(policy_path: Path, tmp_path: Path) -> None:
    for package in ("runtime", "sim2real"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise SystemExit('imported by mistake')\n")
    (tmp_path / "my_driver.py").write_text(_DRIVER)
    server = serve(policy_path, tmp_path, "--robot", "my_driver:Driver")
    try:
        with Client(str(tmp_path / "s"), timeout_s=PATIENCE_S) as client:
            assert client.describe().facts["driver"] == "a driver of my own"
            client.stop()
        output = server.communicate(timeout=PATIENCE_S)[0]
    finally:
        server.kill()
        server.communicate()
    assert server.returncode == 0, output
    assert "imported by mistake" not in output


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere:Driver", "with the module installed, in {folder}, or in a folder of PYTHONPATH"),
        ("mujoco_driver:Absent", "{folder}/mujoco_driver.py has no 'Absent'"),
        ("runtime:Driver", "with a module whose name no installed one has"),
    ],
)
def test_a_driver_that_is_not_found_says_where_it_was_looked_for(
    policy_path: Path, tmp_path: Path, name: str, said: str
) -> None:
    (tmp_path / "mujoco_driver.py").write_text(_DRIVER)
    server = serve(policy_path, tmp_path, "--robot", name)
    output = server.communicate(timeout=PATIENCE_S)[0]
    assert server.returncode == 2, output
    assert said.format(folder=tmp_path) in output
    assert "Traceback" not in output
