from __future__ import annotations

import gc
import json
import sys
import weakref
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from runtime.inference.policy import Policy
from sim2real.contract import Contract
from sim2real.contract.policy_file import (
    CERTIFICATE_KEY,
    CONTRACT_DIGEST_KEY,
    CONTRACT_KEY,
    REACHABILITY_OUTPUT,
    command_output,
)
from sim2real.errors import ShoalError
from tests.runtime.small_policy import expected, random_inputs, write_policy


def test_bound_run_and_batch_agree_with_numpy(policy: Policy) -> None:
    inputs = random_inputs(policy.contract, 5, seed=3)
    answers = policy.infer(inputs)
    np.testing.assert_allclose(answers[command_output(policy.contract)], expected(policy.contract, inputs), atol=1e-6)
    for index in range(5):
        for name, view in policy.inputs.items():
            view[:] = inputs[name][index]
        policy.run()
        np.testing.assert_array_equal(policy.command, answers[command_output(policy.contract)][index])
        np.testing.assert_array_equal(policy.reachability, answers[REACHABILITY_OUTPUT][index])


def test_infer_refuses_wrong_inputs(policy: Policy) -> None:
    inputs = random_inputs(policy.contract, 2)
    with pytest.raises(ShoalError, match=r"'joint_velocity' must have shape \[B, 7\], got \[2, 6\]"):
        policy.infer(inputs | {"joint_velocity": np.zeros((2, 6))})
    with pytest.raises(ShoalError, match="differ in batch size"):
        policy.infer(inputs | {"joint_velocity": np.zeros((3, 7))})
    with pytest.raises(ShoalError, match="needs the inputs"):
        policy.infer({"joint_velocity": np.zeros((3, 7))})


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ShoalError, match=r"cannot read .*none\.onnx"):
        Policy(tmp_path / "none.onnx")


@pytest.mark.parametrize("content", [b"", b"not a policy", b"\x08\x07\x12\x04abcd" * 50])
def test_file_that_is_no_onnx(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(ShoalError) as caught:
        Policy(path)
    assert "\n" not in str(caught.value)


def test_truncated_file(tmp_path: Path, policy_path: Path) -> None:
    path = tmp_path / "half.onnx"
    path.write_bytes(policy_path.read_bytes()[: policy_path.stat().st_size // 2])
    with pytest.raises(ShoalError):
        Policy(path)


def test_onnx_without_metadata(tmp_path: Path, contract: Contract) -> None:
    path = write_policy(tmp_path / "p.onnx", contract, edit_metadata=lambda properties: properties.clear())
    with pytest.raises(ShoalError, match="not a Shoal policy"):
        Policy(path)


def test_edited_contract_is_refused(tmp_path: Path, contract: Contract) -> None:
    def stiffen(properties: dict[str, str]) -> None:
        data = json.loads(properties[CONTRACT_KEY])
        data["robot"]["joints"][0]["stiffness"] += 1
        properties[CONTRACT_KEY] = json.dumps(data)

    path = write_policy(tmp_path / "p.onnx", contract, edit_metadata=stiffen)
    with pytest.raises(ShoalError, match="changed after export"):
        Policy(path)


def edit_golden(offset: float) -> object:
    def edit(properties: dict[str, str]) -> None:
        data = json.loads(properties[CERTIFICATE_KEY])
        data["golden_outputs"]["joint_position_command"][0][0] += offset
        properties[CERTIFICATE_KEY] = json.dumps(data)

    return edit


def test_different_golden_answer_is_refused(tmp_path: Path, contract: Contract) -> None:
    path = write_policy(tmp_path / "p.onnx", contract, edit_metadata=edit_golden(1e-3))
    with pytest.raises(ShoalError, match=r"golden outputs differ by 1\.00e-03"):
        Policy(path)


def test_rounding_in_a_golden_answer_is_accepted(tmp_path: Path, contract: Contract) -> None:
    path = write_policy(tmp_path / "p.onnx", contract, edit_metadata=edit_golden(2e-5))
    assert Policy(path).golden_error == pytest.approx(2e-5, rel=0.1)


def test_empty_golden_vectors_are_refused(tmp_path: Path, contract: Contract) -> None:
    def empty(properties: dict[str, str]) -> None:
        data = json.loads(properties[CERTIFICATE_KEY])
        data["golden_inputs"] = {name: [] for name in data["golden_inputs"]}
        data["golden_outputs"] = {name: [] for name in data["golden_outputs"]}
        properties[CERTIFICATE_KEY] = json.dumps(data)

    with pytest.raises(ShoalError, match="golden vectors do not fit"):
        Policy(write_policy(tmp_path / "p.onnx", contract, edit_metadata=empty))


def test_renamed_output_is_refused(tmp_path: Path, contract: Contract) -> None:
    def rename(model: onnx.ModelProto) -> None:
        model.graph.output[1].name = model.graph.node[-1].output[0] = "value"

    with pytest.raises(ShoalError, match="graph outputs are 'joint_position_command', 'value'"):
        Policy(write_policy(tmp_path / "p.onnx", contract, edit_model=rename))


def test_wrong_input_type_is_refused(tmp_path: Path, contract: Contract) -> None:
    def widen(model: onnx.ModelProto) -> None:
        value = model.graph.input[1]
        value.CopyFrom(helper.make_tensor_value_info(value.name, TensorProto.DOUBLE, ["batch", 7]))
        cast = helper.make_node("Cast", [value.name], ["cast"], to=TensorProto.FLOAT)
        concat = next(node for node in model.graph.node if node.op_type == "Concat")
        concat.input[list(concat.input).index(value.name)] = "cast"
        model.graph.node.insert(0, cast)

    with pytest.raises(ShoalError, match=r"'joint_velocity' is tensor\(double\)"):
        Policy(write_policy(tmp_path / "p.onnx", contract, edit_model=widen))


def test_the_callers_floating_point_mode_is_left_alone(policy: Policy) -> None:
    policy.run()
    assert np.float64(sys.float_info.min) / 4 > 0


def test_whoever_holds_run_holds_its_memory(policy_path: Path) -> None:
    """A binding knows addresses only: without its arrays an inference writes into memory that others own by now."""
    policy = Policy(policy_path)
    vector, run = weakref.ref(policy.command.base), policy.run
    del policy
    gc.collect()
    assert vector() is not None
    run()
    del run
    gc.collect()
    assert vector() is None


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("last_command", r"\['joint_velocity'\] are of the last command, of which this runtime tells only"),
        ("simulation", r"only a simulation tells the readings \['joint_velocity'\]"),
    ],
)
def test_readings_that_no_robot_tells_are_refused_in_words(
    tmp_path: Path, contract: Contract, source: str, message: str
) -> None:
    plain = contract.model_dump(mode="json")
    for reading in plain["readings"]:
        reading["source"] = source if reading["name"] == "joint_velocity" else reading["source"]
    other = Contract.model_validate(plain)

    def stated(properties: dict[str, str]) -> None:
        certificate = json.loads(properties[CERTIFICATE_KEY]) | {"contract_sha256": other.digest}
        properties.update(
            {
                CONTRACT_KEY: other.canonical_json,
                CONTRACT_DIGEST_KEY: other.digest,
                CERTIFICATE_KEY: json.dumps(certificate),
            }
        )

    path = write_policy(tmp_path / "p.onnx", contract, edit_metadata=stated)
    with pytest.raises(ShoalError, match=message):
        Policy(path)
