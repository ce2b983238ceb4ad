"""`shoal` is one name for what people use most, and costs nothing until it is used."""

from __future__ import annotations

import subprocess
import sys

import runtime
import shoal
import sim2real


def test_every_name_is_that_of_its_room() -> None:
    for name in shoal.__all__:
        room = runtime if name in runtime.__all__ else sim2real
        assert getattr(shoal, name) is getattr(room, name)
    assert dir(shoal) == shoal.__all__


def test_all_that_the_runtime_offers_is_there() -> None:
    assert {*runtime.__all__} <= {*shoal.__all__}


def test_importing_it_loads_nothing_heavy() -> None:
    program = """
import sys
import shoal
heavy = {"jax", "mujoco", "onnxruntime", "numpy"}
assert not heavy & {*sys.modules}, heavy & {*sys.modules}
from shoal import Client, Controller, GoalPose, load_task
assert "jax" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
