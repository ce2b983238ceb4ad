"""The package's only import of onnxruntime, with telemetry off, and the session settings of a control loop.

Official wheels from 1.29 on start a telemetry thread at import, keep a device id on disk and upload; the
environment variable is the only switch that prevents the thread, and it must be set before the import.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim2real.errors import ShoalError, first_line

_TOO_LATE = "onnxruntime" in sys.modules and os.environ.get("ORT_DISABLE_TELEMETRY") != "1"
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
try:
    import onnxruntime
except ImportError as error:
    raise ShoalError(
        f"onnxruntime cannot be imported ({error}); install one of shoal[cpu] and shoal[gpu], "
        "and see what `runtime doctor` finds."
    ) from error

Float32 = NDArray[np.float32]
_FATAL_ONLY = 4
"""Errors come as exceptions, too; printed, they would bring the file's own characters to the terminal."""


def telemetry_prevented() -> bool:
    """False when the process had imported onnxruntime, with telemetry on, before this package could prevent it."""
    return not _TOO_LATE


def make_session(path: Path) -> Any:
    """An `onnxruntime.InferenceSession` on the CPU, tuned for single inferences in a paced loop.

    One thread and no spinning: more threads are slower on networks this small, and spinning burns a core.
    Raises `ShoalError` when the file is missing or is not an ONNX model.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ShoalError(f"policy: cannot read {path}: {error.strerror or error}.") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = _FATAL_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Not `session.set_denormal_as_zero`: it leaves the calling thread flushing denormals to zero for good, which
    # would change the arithmetic of a simulation in the same thread.
    try:
        # With its fallback, it would print what is wrong and try the same again.
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"], enable_fallback=0)
    except Exception as error:  # onnxruntime's own exceptions share no base but Exception
        raise ShoalError(
            f"policy: {path} is not an ONNX file that onnxruntime {onnxruntime.__version__} can load: "
            f"{first_line(error)}"
        ) from error


@contextmanager
def named_damage(path: Path) -> Iterator[None]:
    """Whatever a damaged file makes onnxruntime raise (a name that is not UTF-8, say) becomes a `ShoalError`."""
    try:
        yield
    except ShoalError:
        raise
    except Exception as error:
        raise ShoalError(f"policy: {path} is damaged: {first_line(error)}; export the student again.") from error


def bound_run(session: Any, inputs: Mapping[str, Float32], outputs: Mapping[str, Float32]) -> Callable[[], None]:
    """One inference that reads and writes arrays `[1, size]`, by name, in place. It keeps the arrays alive."""
    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_input(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
    for name, array in outputs.items():
        binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
    run = partial(session.run_with_iobinding, binding)
    # The binding knows addresses only, so whoever holds the function must hold the memory too.
    vars(run)["memory"] = inputs, outputs
    return run


def version() -> str:
    """Version of the imported onnxruntime."""
    return str(onnxruntime.__version__)


def available_providers() -> list[str]:
    """Execution providers that the installed wheel claims to have."""
    return list(onnxruntime.get_available_providers())


def device_providers() -> list[str]:
    """Execution providers that really have a device on this machine."""
    return sorted({str(device.ep_name) for device in onnxruntime.get_ep_devices()})
