"""A policy file run on batches of readings, for reports: the exported graph itself, without the runtime.

policy = OnnxPolicy(Path("student.onnx"), batch=1)
command, reachability = policy(readings, goal)

Nothing here paces, limits or watches: robots are driven by the runtime.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from sim2real.contract.policy_file import (
    HISTORY_INPUT,
    HISTORY_OUTPUT,
    REACHABILITY_OUTPUT,
    command_output,
    read_metadata,
    require_intact,
)
from sim2real.errors import ShoalError, first_line

_FATAL_ONLY = 4
"""Errors come as exceptions, too; printed, they would bring the file's own characters to the terminal."""


class OnnxPolicy:
    """`N` copies of one policy, each with its own memory where it has one. `ShoalError` when the file is none."""

    def __init__(self, path: Path, *, batch: int) -> None:
        self._session = open_session(path)
        properties = dict(self._session.get_modelmeta().custom_metadata_map)
        self.contract, certificate = read_metadata(properties, path=str(path))
        require_intact(path, certificate)
        self._goal = self.contract.goal.layout(self.contract)
        self._sizes = {node.name: node.shape[-1] for node in self._session.get_inputs()}
        self._outputs = [node.name for node in self._session.get_outputs()]
        self.batch = batch
        self.forget()

    def forget(self) -> None:
        """Begin anew, for a policy with a memory."""
        self._history = np.zeros((self.batch, self._sizes.get(HISTORY_INPUT, 0)), np.float32)

    def __call__(self, readings: dict[str, np.ndarray], goal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Readings `[N, size]` by name and requests `[N, K]` to commands `[N, J]`, reachability `[N]`."""
        inputs = {reading.name: readings[reading.name] for reading in self.contract.readings}
        inputs |= self._goal.split(goal)
        if HISTORY_INPUT in self._sizes:
            inputs[HISTORY_INPUT] = self._history
        answers = self._session.run(self._outputs, {name: np.float32(value) for name, value in inputs.items()})
        named = dict(zip(self._outputs, answers, strict=True))
        if HISTORY_OUTPUT in named:
            self._history = named[HISTORY_OUTPUT]
        return np.asarray(named[command_output(self.contract)]), np.asarray(named[REACHABILITY_OUTPUT])[:, 0]


def open_session(path: Path) -> Any:
    """An `onnxruntime.InferenceSession` on one CPU thread; one sentence where that is not possible."""
    if not path.is_file():
        raise ShoalError(f"no file at {path}.")
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # Read at import; the wheels send telemetry otherwise.
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise ShoalError(f"{path}: reading a policy needs onnxruntime; pip install 'shoal[cpu]'.") from error
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = _FATAL_ONLY
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"], enable_fallback=0)
    except Exception as error:  # ONNX Runtime's exceptions share no public base class.
        raise ShoalError(f"{path}: ONNX Runtime cannot load it: {first_line(error)}.") from error
