"""A policy file of any contract: every input moves every joint a little, by fixed random weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from sim2real.contract import Contract
from sim2real.contract.policy_file import (
    CERTIFICATE_KEY,
    COMMAND_OUTPUT,
    CONTRACT_DIGEST_KEY,
    CONTRACT_KEY,
    REACHABILITY_OUTPUT,
    Certificate,
    input_sizes,
)


def write_any_policy(path: Path, contract: Contract, *, seed: int = 0) -> Path:
    """A certified file whose command is clip(target + a share of step_max, limits), the share tanh(inputs W)."""
    model = _build(contract, np.random.default_rng(seed))
    rng = np.random.default_rng(seed + 1)
    inputs = {name: rng.normal(size=(4, size)).astype(np.float32) for name, size in input_sizes(contract).items()}
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs = dict(zip((COMMAND_OUTPUT, REACHABILITY_OUTPUT), session.run(None, inputs), strict=True))
    certificate = Certificate(
        contract_sha256=contract.digest,
        samples=4,
        max_abs_error=0.0,
        p99_abs_error=0.0,
        opset=21,
        nodes=len(model.graph.node),
        parameters=1,
        tick_us_p50=10.0,
        tick_us_p99=20.0,
        machine="test",
        versions={},
        golden_inputs={name: value.astype(float).tolist() for name, value in inputs.items()},
        golden_outputs={name: value.astype(float).tolist() for name, value in outputs.items()},
    )
    helper.set_model_props(
        model,
        {
            CONTRACT_KEY: contract.canonical_json,
            CONTRACT_DIGEST_KEY: contract.digest,
            CERTIFICATE_KEY: json.dumps(certificate.model_dump(mode="json")),
        },
    )
    path.write_bytes(model.SerializeToString())
    return path


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
        helper.make_node("MatMul", ["all", "weights"], ["wished"]),
        helper.make_node("Tanh", ["wished"], ["share"]),
        helper.make_node("Mul", ["share", "scale"], ["step"]),
        helper.make_node("Add", [contract.action.previous, "step"], ["moved"]),
        helper.make_node("Max", ["moved", "low"], ["above"]),
        helper.make_node("Min", ["above", "high"], [COMMAND_OUTPUT]),
        helper.make_node("MatMul", ["all", "score"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], [REACHABILITY_OUTPUT]),
    ]
    graph = helper.make_graph(
        nodes,
        "any_policy",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size]) for name, size in sizes.items()],
        [
            helper.make_tensor_value_info(COMMAND_OUTPUT, TensorProto.FLOAT, ["batch", joints]),
            helper.make_tensor_value_info(REACHABILITY_OUTPUT, TensorProto.FLOAT, ["batch", 1]),
        ],
        [numpy_helper.from_array(np.float32(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
