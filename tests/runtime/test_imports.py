"""The robot side loads neither the training side nor telemetry; each in a process of its own."""

from __future__ import annotations

import subprocess
import sys

_BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"jax", "jaxlib", "flax", "onnx", "optax", "jax2onnx", "teacher", "student", "export"}:
            raise ImportError(f"{name} must not be imported on the robot")

sys.meta_path.insert(0, Blocker())
"""


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_imports_without_the_training_side() -> None:
    modules = run(
        _BLOCKER
        + """
import importlib, pkgutil, runtime
names = [m.name for m in pkgutil.walk_packages(runtime.__path__, "runtime.")]
names += [f"sim2real.{n}" for n in ("contract", "contract.interface", "contract.policy_file", "errors")]
names += [f"sim2real.{n}" for n in ("tasks.task", "robots.model", "robots.kinematics")]
for name in names:
    importlib.import_module(name)
assert runtime.Controller and runtime.Client and runtime.GoalPose
print(len(names))
"""
    )
    assert int(modules) > 20


def test_blocker_blocks() -> None:
    done = subprocess.run([sys.executable, "-c", _BLOCKER + "import onnx"], capture_output=True, text=True, check=False)
    assert "must not be imported on the robot" in done.stderr


def test_telemetry_is_off_before_onnxruntime_is_imported() -> None:
    output = run(
        """
import os, sys
os.environ.pop("ORT_DISABLE_TELEMETRY", None)
seen = []

class Watcher:
    def find_spec(self, name, path=None, target=None):
        if name == "onnxruntime":
            seen.append(os.environ.get("ORT_DISABLE_TELEMETRY"))

sys.meta_path.insert(0, Watcher())
import runtime.inference.policy
print(seen, runtime.inference.policy.make_session.__module__)
"""
    )
    assert output.strip() == "['1'] runtime.inference.onnx_session"


def test_onnxruntime_imported_too_early_is_noticed() -> None:
    output = run(
        """
import os, sys, types
os.environ.pop("ORT_DISABLE_TELEMETRY", None)
sys.modules["onnxruntime"] = types.ModuleType("onnxruntime")
import runtime.inference.onnx_session
print(runtime.inference.onnx_session.telemetry_prevented())
"""
    )
    assert output.strip() == "False"


def test_client_commands_load_neither_mujoco_nor_onnxruntime() -> None:
    output = run(
        "import sys, runtime.commands.all_commands, runtime.protocol.client\n"
        "print([n for n in ('mujoco', 'onnxruntime') if n in sys.modules])"
    )
    assert output.strip() == "[]"


def test_emergency_stop_waits_for_no_import_but_the_standard_librarys() -> None:
    output = run(
        "import sys, runtime.cli\n"
        "print([name for name in ('numpy', 'pydantic', 'tyro', 'rich', 'sim2real') if name in sys.modules])"
    )
    assert output.strip() == "[]"
