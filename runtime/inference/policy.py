"""A policy file, loaded, checked and ready to run.

    policy = Policy("student.onnx")
    policy.inputs["joint_position"][:] = ...     # views on the arrays that the session reads
    policy.run()
    policy.command, policy.reachability          # views on the arrays that the session writes

What the inputs and outputs are is said in `sim2real.contract.policy_file`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from runtime.inference.onnx_session import Float32, bound_run, make_session, named_damage, version
from runtime.options import Engine
from sim2real.contract.policy_file import (
    HISTORY_INPUT,
    HISTORY_OUTPUT,
    LICENSE_KEY,
    REACHABILITY_OUTPUT,
    command_output,
    input_sizes,
    read_metadata,
    require_intact,
)
from sim2real.errors import ShoalError, first_line, shown
from sim2real.evaluation.record import read_evaluation

GOLDEN_TOLERANCE = 1e-4
"""Largest difference to the stored answers, rad for commands; far below what a servo resolves."""

_WARM_UP_RUNS = 50


class Policy:
    """One ONNX session with arrays bound to it, batch 1, or a kernel that was compared with it.

    Raises `ShoalError` when the file cannot be read, is not a policy, has other inputs or outputs than its
    contract says, or answers its golden inputs differently than the policy that was trained; with the engine
    `kernel` also when there can be none.
    """

    def __init__(self, path: str | Path, *, engine: Engine = "onnxruntime") -> None:
        self.path = Path(path)
        self._session: Any = make_session(self.path)
        with named_damage(self.path):
            properties = dict(self._session.get_modelmeta().custom_metadata_map)
            self.contract, self.certificate = read_metadata(properties, path=str(self.path))
            require_intact(self.path, self.certificate)
            self.evaluation = read_evaluation(properties, path=str(self.path))
            """Success on held-out goals, where the file says so."""
            self.license = properties.get(LICENSE_KEY)
            self._check_graph()
        inputs = _side_by_side(self._input_sizes, first=self.contract.measured.sizes)
        outputs = _side_by_side(self._output_sizes)
        self.run: Callable[[], None] = bound_run(self._session, inputs, outputs)
        """One inference from `inputs` to `command` and `reachability`, in place."""
        self.inputs: dict[str, Float32] = {name: array[0] for name, array in inputs.items() if name != HISTORY_INPUT}
        """Readings and goal, `[size]`, writable; names and units as in the contract."""
        self.history: Float32 = inputs.get(HISTORY_INPUT, np.zeros((1, 0), np.float32))[0]
        """`[H]`, writable: what was seen in the steps before, zeros at first; H is 0 for a policy without a memory."""
        self.next_history: Float32 = outputs.get(HISTORY_OUTPUT, np.zeros((1, 0), np.float32))[0]
        """`[H]`, the `history` of the next step; whoever drives a robot keeps it, since robots may share a policy."""
        self.command: Float32 = outputs[command_output(self.contract)][0]
        """`[J]`, what the drives are told, policy order; valid after `run`."""
        self.reachability: Float32 = outputs[REACHABILITY_OUTPUT][0]
        """`[1]`, probability that the goal is reached within an episode."""
        self.golden_error = self.check_golden()
        """Largest difference to the golden outputs, on this machine."""
        self.engine = f"onnxruntime {version()}"
        """What `run` calls, in words."""
        if engine != "onnxruntime":
            self._use_kernel(inputs, outputs, required=engine == "kernel")
        for _ in range(_WARM_UP_RUNS):
            self.run()

    @property
    def file_sha256(self) -> str:
        """Digest of the file's bytes, for logs."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def infer(self, inputs: Mapping[str, Any]) -> dict[str, Float32]:
        """A batch: every input as `[B, size]`, every output as `[B, size]`; the bound arrays stay untouched.

        A policy with a memory also wants `history`, zeros or the `next_history` of the call before.
        """
        wanted = self._input_sizes
        if set(inputs) != set(wanted):
            raise ShoalError(f"policy: infer needs the inputs {sorted(wanted)}, got {sorted(inputs)}.")
        batch: dict[str, Float32] = {}
        for name, size in wanted.items():
            array = np.asarray(inputs[name], np.float32)
            if array.ndim != 2 or array.shape[1] != size:
                raise ShoalError(f"policy: input {name!r} must have shape [B, {size}], got {list(array.shape)}.")
            batch[name] = array
        if len({array.shape[0] for array in batch.values()}) != 1:
            raise ShoalError(f"policy: inputs differ in batch size: { {n: len(a) for n, a in batch.items()} }.")
        names = list(self._output_sizes)
        return dict(zip(names, self._session.run(names, batch), strict=True))

    def check_golden(self) -> float:
        """Answer the golden inputs again; the largest difference, or `ShoalError` when above the tolerance."""
        certificate = self.certificate
        try:
            answers = self.infer(certificate.golden_inputs)
            wanted = {name: np.asarray(certificate.golden_outputs[name], np.float32) for name in answers}
            errors = [np.abs(answers[name] - wanted[name]).max() for name in answers]
        except Exception as error:  # of a graph that loads but cannot be run, onnxruntime's own
            raise ShoalError(
                f"{self.path}: the certificate's golden vectors do not fit the graph: {first_line(error)}"
            ) from error
        error_max = float(np.max(errors))
        if not error_max <= GOLDEN_TOLERANCE:
            raise ShoalError(
                f"{self.path}: golden outputs differ by {error_max:.2e} on this machine, more than "
                f"{GOLDEN_TOLERANCE:.0e}; the graph was changed or this onnxruntime computes it wrongly, "
                "so it must not drive a robot."
            )
        return error_max

    def _use_kernel(self, inputs: dict[str, Float32], outputs: dict[str, Float32], *, required: bool) -> None:
        from runtime.inference.kernel import make_kernel, require_agreement
        from runtime.native.build import Unsupported

        golden = {name: np.asarray(rows, np.float32) for name, rows in self.certificate.golden_inputs.items()}
        try:
            kernel = make_kernel(self.path.read_bytes(), inputs, outputs)
            difference = require_agreement(kernel, self.run, inputs, outputs, golden)
        except Unsupported as reason:
            if required:
                raise ShoalError(f"--engine kernel: no kernel for {self.path}: {reason}.") from reason
            self.engine += f" (no kernel: {reason})"
            return
        self.run = kernel
        self.engine = f"C kernel, within {difference:.1e} of onnxruntime {version()}"

    def _check_graph(self) -> None:
        contract = self.contract
        commands = [
            r.name for r in contract.readings if r.source == "last_command" and r.name != contract.action.previous
        ]
        if commands:
            raise ShoalError(
                f"{self.path}: readings {shown(commands)} are of the last command, of which this runtime tells only "
                f"{contract.action.previous!r}; give them another source, or run the file with ONNX Runtime itself."
            )
        if unreal := [r.name for r in contract.readings if r.source == "simulation"]:
            raise ShoalError(f"{self.path}: only a simulation tells the readings {shown(unreal)}; no robot has them.")
        self._input_sizes = input_sizes(self.contract)
        self._output_sizes = {command_output(contract): len(contract.robot.joints), REACHABILITY_OUTPUT: 1}
        history = next((node for node in self._session.get_inputs() if node.name == HISTORY_INPUT), None)
        if history is not None:
            # The graph alone says how much a policy remembers: the contract is the robot's side of the interface.
            self._input_sizes |= {HISTORY_INPUT: history.shape[-1]}
            self._output_sizes |= {HISTORY_OUTPUT: history.shape[-1]}
        self._check_nodes("input", self._session.get_inputs(), self._input_sizes)
        self._check_nodes("output", self._session.get_outputs(), self._output_sizes)

    def _check_nodes(self, kind: str, nodes: list[Any], wanted: Mapping[str, int]) -> None:
        found = [node.name for node in nodes]
        if set(found) != set(wanted):
            names = ", ".join(map(shown, found[:20]))
            raise ShoalError(f"{self.path}: graph {kind}s are {names}, but its contract needs {list(wanted)}.")
        for node in nodes:
            size = wanted[node.name]
            fits = len(node.shape) == 2 and node.shape[1] == size and not isinstance(node.shape[0], int)
            if node.type != "tensor(float)" or not fits:
                raise ShoalError(
                    f"{self.path}: graph {kind} {node.name!r} is {node.type} {shown(node.shape)}, "
                    f"but its contract needs tensor(float) ['batch', {shown(size)}]."
                )


def _side_by_side(sizes: Mapping[str, int], first: Iterable[str] = ()) -> dict[str, Float32]:
    """Zeros `[1, size]` in the order of `sizes`, all in one vector: `first` first, in the order in which
    `runtime.robot.readings.Readings` holds them, so that they can be copied at once.
    """
    vector, arrays, start = np.zeros(sum(sizes.values()), np.float32), {}, 0
    for name in dict.fromkeys([*first, *sizes]):
        arrays[name] = vector[start : start + sizes[name]].reshape(1, -1)
        start += sizes[name]
    return {name: arrays[name] for name in sizes}
