"""Conversion of the student's physical policy to an ONNX graph."""

from __future__ import annotations

from typing import Any

import jax
import onnx
from jax2onnx import to_onnx

from sim2real.contract.policy_file import (
    HISTORY_INPUT,
    HISTORY_OUTPUT,
    REACHABILITY_OUTPUT,
    command_output,
    input_sizes,
)
from sim2real.errors import ShoalError
from student.history import history_size
from student.policy import physical_policy
from student.run import Student

OPSET = 21


def physical_function(student: Student) -> Any:
    """`f(*inputs) -> (command, reachability, next_history if any)`, inputs in the order of `graph_inputs`."""
    names = list(graph_inputs(student))

    def function(*values: jax.Array) -> tuple[jax.Array, ...]:
        inputs = dict(zip(names, values, strict=True))
        return physical_policy(student.contract, student.policy, student.params, inputs)

    return function


def graph_inputs(student: Student) -> dict[str, int]:
    """Sizes of the student's inputs by name: the contract's, and the history of one that remembers."""
    steps = student.config.student.history_steps
    history = {HISTORY_INPUT: history_size(student.contract, steps)} if steps else {}
    return input_sizes(student.contract) | history


def convert(student: Student) -> onnx.ModelProto:
    """The student as an ONNX model with named inputs and outputs and a free batch dimension.

    `prefer_native` keeps a LayerNorm one node instead of seven, which halves the time of a tick; that it did is
    checked here.
    """
    sizes = graph_inputs(student)
    history = [HISTORY_OUTPUT] if HISTORY_INPUT in sizes else []
    outputs = [command_output(student.contract), REACHABILITY_OUTPUT, *history]
    model: onnx.ModelProto = to_onnx(
        physical_function(student),
        inputs=[("batch", size) for size in sizes.values()],
        model_name=f"shoal_{student.contract.task}",
        opset=OPSET,
        input_names=list(sizes),
        output_names=outputs,
        normalization_mode="prefer_native",
    )
    _require_native_layer_norm(model, student)
    onnx.checker.check_model(model, full_check=True)
    return model


def _require_native_layer_norm(model: onnx.ModelProto, student: Student) -> None:
    config = student.config.student
    wanted = config.hidden_layers if config.layer_norm else 0
    found = sum(node.op_type == "LayerNormalization" for node in model.graph.node)
    if found != wanted:
        raise ShoalError(
            f"export: the graph has {found} LayerNormalization nodes instead of {wanted}; this version of jax2onnx "
            "takes the student's LayerNorm apart, which would slow every tick down. Install the locked versions."
        )
