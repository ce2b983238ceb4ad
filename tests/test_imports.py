"""Which room may import which, and that the robot's side never needs the training side's libraries."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

MAY_IMPORT = {
    "sim2real": set[str](),
    "teacher": {"sim2real"},
    "student": {"sim2real", "teacher"},
    "export": {"sim2real", "student", "teacher"},
    "runtime": {"sim2real"},
    "shoal": {"runtime", "sim2real"},
}
ROOMS = {*MAY_IMPORT, "benchmarks", "tests"}
TRAINING_ONLY = {f"sim2real.backends.{name}" for name in ("mjx", "mjx_disturbances", "mjx_library", "xla")}
TRAINING_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax", "onnx", "jax2onnx", "tensorboardX")

IMPORT_WITHOUT_TRAINING = """
import importlib.abc
import sys

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {libraries!r}:
            raise ImportError(f"{{name}} belongs to the training side")

sys.meta_path.insert(0, Blocker())
import sim2real, runtime
from importlib import import_module
for module in {modules!r}:
    import_module(module)
for package in (sim2real, runtime):
    for name in package.__all__:
        getattr(package, name)
"""


def imported_rooms(path: Path) -> set[str]:
    """Top-level packages of ours that a file imports anywhere, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            names.add((node.module or "").split(".")[0])
    return names & ROOMS


def modules_of(room: str) -> list[str]:
    """Dotted names of every module of a room."""
    files = sorted((ROOT / room).rglob("*.py"))
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    return [name.removesuffix(".__init__") for name in names if not name.endswith("__main__")]


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_rooms_import_only_what_flows_into_them(room: str) -> None:
    files = list((ROOT / room).rglob("*.py"))
    assert files
    wrong = {
        str(file.relative_to(ROOT)): sorted(found)
        for file in files
        if (found := imported_rooms(file) - MAY_IMPORT[room] - {room})
    }
    assert wrong == {}


def test_the_robots_side_works_without_the_training_side() -> None:
    modules = [name for room in ("sim2real", "runtime") for name in modules_of(room) if name not in TRAINING_ONLY]
    program = IMPORT_WITHOUT_TRAINING.format(libraries=TRAINING_LIBRARIES, modules=modules)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_blocker_blocks() -> None:
    program = IMPORT_WITHOUT_TRAINING.format(libraries=TRAINING_LIBRARIES, modules=["sim2real.backends.mjx"])
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode != 0
    assert "jax belongs to the training side" in done.stderr
