"""A small policy file with real inputs, outputs, contract and certificate, written with `onnx.helper`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import mujoco
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from sim2real.contract import Contract
from sim2real.contract.policy_file import (
    CERTIFICATE_KEY,
    CONTRACT_DIGEST_KEY,
    CONTRACT_KEY,
    REACHABILITY_OUTPUT,
    Certificate,
    command_output,
    input_sizes,
)
from sim2real.robots.kinematics import Addresses
from sim2real.tasks.task import load_task

GAIN = 1.5


def steering_gains(contract: Contract) -> np.ndarray:
    """`[3, J]`: joint motion per metre between goal and tool, by the transposed Jacobian at home."""
    task = load_task(contract.task)
    data = mujoco.MjData(task.model)
    mujoco.mj_resetDataKeyframe(task.model, data, task.model.key(task.config.robot.home_keyframe).id)
    mujoco.mj_forward(task.model, data)
    jacobian = np.zeros((3, task.model.nv))
    mujoco.mj_jacSite(task.model, data, jacobian, None, task.model.site("tool").id)
    return jacobian[:, Addresses.of(task.model, contract.robot).dof].astype(np.float32)


def build_model(contract: Contract) -> onnx.ModelProto:
    """Command = target + clip(gain * (goal - tool) J, -scale, scale), so the tool does move to near goals."""
    scale = np.array([contract.action.step_max], np.float32)
    constants = {
        "gains": GAIN * steering_gains(contract),
        "scale": scale,
        "minus_scale": -scale,
        "low": np.array([[joint.position_min for joint in contract.robot.joints]], np.float32),
        "high": np.array([[joint.position_max for joint in contract.robot.joints]], np.float32),
        "axis": np.array([1], np.int64),
        "zero": np.zeros((1, 1), np.float32),
    }
    sizes = input_sizes(contract)
    others = [name for name in sizes if name not in ("goal_position", "end_effector_position", "joint_position_target")]
    nodes = [
        helper.make_node("Sub", ["goal_position", "end_effector_position"], ["error"]),
        helper.make_node("MatMul", ["error", "gains"], ["request"]),
        helper.make_node("Min", ["request", "scale"], ["below"]),
        helper.make_node("Max", ["below", "minus_scale"], ["step"]),
        helper.make_node("Add", ["joint_position_target", "step"], ["moved"]),
        helper.make_node("Max", ["moved", "low"], ["above_low"]),
        helper.make_node("Min", ["above_low", "high"], [command_output(contract)]),
        # Every input has to be used, or the exporter would have dropped it.
        helper.make_node("Concat", others, ["rest"], axis=1),
        helper.make_node("ReduceSum", ["rest", "axis"], ["sum"], keepdims=1),
        helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
        helper.make_node("Sigmoid", ["nothing"], [REACHABILITY_OUTPUT]),
    ]
    return model_of(contract, nodes, constants)


def model_of(contract: Contract, nodes: list[onnx.NodeProto], constants: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """A model of these nodes, with the inputs and outputs of the contract's policies."""
    joints = len(contract.robot.joints)
    graph = helper.make_graph(
        nodes,
        "test_policy",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size])
            for name, size in input_sizes(contract).items()
        ],
        [
            helper.make_tensor_value_info(command_output(contract), TensorProto.FLOAT, ["batch", joints]),
            helper.make_tensor_value_info(REACHABILITY_OUTPUT, TensorProto.FLOAT, ["batch", 1]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model)
    return model


def expected(contract: Contract, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """What `build_model` answers, in NumPy: `[B, J]` rad."""
    scale = np.array(contract.action.step_max, np.float32)
    request = (inputs["goal_position"] - inputs["end_effector_position"]) @ (GAIN * steering_gains(contract))
    low = np.array([joint.position_min for joint in contract.robot.joints], np.float32)
    high = np.array([joint.position_max for joint in contract.robot.joints], np.float32)
    return np.clip(inputs["joint_position_target"] + np.clip(request, -scale, scale), low, high)


def random_inputs(contract: Contract, count: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=(count, size)).astype(np.float32) for name, size in input_sizes(contract).items()}


def write_policy(
    path: Path,
    contract: Contract,
    *,
    edit_model: Callable[[onnx.ModelProto], None] | None = None,
    edit_metadata: Callable[[dict[str, str]], None] | None = None,
) -> Path:
    """A certified policy file; the two hooks damage it before it is written."""
    inputs = random_inputs(contract, 8)
    outputs = {command_output(contract): expected(contract, inputs), REACHABILITY_OUTPUT: np.full((8, 1), 0.5)}
    model = build_model(contract)
    return write_certified(path, contract, model, inputs, outputs, edit_model=edit_model, edit_metadata=edit_metadata)


def write_certified(
    path: Path,
    contract: Contract,
    model: onnx.ModelProto,
    inputs: Mapping[str, np.ndarray],
    outputs: Mapping[str, np.ndarray],
    *,
    edit_model: Callable[[onnx.ModelProto], None] | None = None,
    edit_metadata: Callable[[dict[str, str]], None] | None = None,
) -> Path:
    """A model with the contract and a certificate over golden inputs and outputs `[B, size]`."""
    certificate = Certificate(
        contract_sha256=contract.digest,
        samples=len(outputs[REACHABILITY_OUTPUT]),
        max_abs_error=0.0,
        p99_abs_error=0.0,
        opset=21,
        nodes=len(model.graph.node),
        parameters=21,
        tick_us_p50=10.0,
        tick_us_p99=20.0,
        machine="test",
        versions={},
        golden_inputs={name: value.astype(float).tolist() for name, value in inputs.items()},
        golden_outputs={name: value.astype(float).tolist() for name, value in outputs.items()},
    )
    properties = {
        CONTRACT_KEY: contract.canonical_json,
        CONTRACT_DIGEST_KEY: contract.digest,
        CERTIFICATE_KEY: json.dumps(certificate.model_dump(mode="json")),
    }
    if edit_metadata:
        edit_metadata(properties)
    helper.set_model_props(model, properties)
    if edit_model:
        edit_model(model)
    path.write_bytes(model.SerializeToString())
    return path
