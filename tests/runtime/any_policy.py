"""A policy file of any contract: every input moves every joint a little, by fixed random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from sim2real.contract import Contract
from sim2real.contract.policy_file import REACHABILITY_OUTPUT, command_output, input_sizes
from tests.runtime.small_policy import model_of, random_inputs, write_certified


def write_any_policy(path: Path, contract: Contract, *, seed: int = 0) -> Path:
    """A certified file whose command is clip(target + a share of step_max, limits), the share tanh(inputs W)."""
    model = _build(contract, np.random.default_rng(seed))
    inputs = random_inputs(contract, 4, seed + 1)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs = dict(zip((command_output(contract), REACHABILITY_OUTPUT), session.run(None, inputs), strict=True))
    return write_certified(path, contract, model, inputs, outputs)


def _build(contract: Contract, rng: np.random.Generator) -> onnx.ModelProto:
    sizes, joints = input_sizes(contract), len(contract.joint_names)
    low, high = (np.clip(bound, -1e6, 1e6) for bound in contract.command_limits)
    total = sum(sizes.values())
    constants = {
        "weights": rng.normal(size=(total, joints)) / total,
        "score": rng.normal(size=(total, 1)) / total,
        "scale": 0.5 * np.array([contract.action.step_max]),
        "low": low[None],
        "high": high[None],
    }
    nodes = [
        helper.make_node("Concat", list(sizes), ["all"], axis=1),
        helper.make_node("MatMul", ["all", "weights"], ["wanted"]),
        helper.make_node("Tanh", ["wanted"], ["share"]),
        helper.make_node("Mul", ["share", "scale"], ["step"]),
        helper.make_node("Add", [contract.action.previous, "step"], ["moved"]),
        helper.make_node("Max", ["moved", "low"], ["above"]),
        helper.make_node("Min", ["above", "high"], [command_output(contract)]),
        helper.make_node("MatMul", ["all", "score"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], [REACHABILITY_OUTPUT]),
    ]
    return model_of(contract, nodes, {name: np.float32(value) for name, value in constants.items()})
