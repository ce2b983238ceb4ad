from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import export.write
from export.certificate import extreme_inputs, make_session
from export.graph import convert, physical_function
from export.write import export_student
from runtime.inference.policy import Policy
from sim2real.commands.shared import read_contract
from sim2real.contract import Contract
from sim2real.contract.policy_file import (
    CERTIFICATE_KEY,
    CONTRACT_DIGEST_KEY,
    CONTRACT_KEY,
    REACHABILITY_OUTPUT,
    Certificate,
    input_sizes,
    read_metadata,
    require_intact,
)
from sim2real.errors import ContractMismatch, ShoalError
from sim2real.evaluation.onnx_policy import OnnxPolicy
from sim2real.tasks.goal_pool import EVALUATION_SEED_OFFSET
from student.run import Student, load_student
from tests.limits import limited_files

SAMPLES = 2000


@pytest.fixture(scope="module")
def student(student_run: Path) -> Student:
    return load_student(student_run)


@pytest.fixture(scope="module")
def exported(student: Student, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Certificate]:
    path = tmp_path_factory.mktemp("export") / "deep" / "student.onnx"
    return path, export_student(student, path, samples=SAMPLES)


@pytest.fixture(scope="module")
def model(exported: tuple[Path, Certificate]) -> onnx.ModelProto:
    return onnx.load(str(exported[0]))


@pytest.fixture(scope="module")
def session(model: onnx.ModelProto) -> Any:
    return make_session(model)


def test_the_file_says_how_the_student_did(
    student: Student, exported: tuple[Path, Certificate], student_run: Path
) -> None:
    record = Policy(exported[0]).evaluation
    assert record is not None
    assert record == student.evaluation
    score = json.loads((student_run / "summary.json").read_text())["student"]
    assert record.coarse.reached / record.coarse.episodes == score["success_coarse"]
    assert record.coarse.low <= score["success_coarse"] <= record.coarse.high
    assert (record.seed, record.engine) == (student.config.seed + EVALUATION_SEED_OFFSET, "native")


def test_a_run_without_an_evaluation_makes_a_file_without_one(student: Student, tmp_path: Path) -> None:
    path = tmp_path / "student.onnx"
    export_student(replace(student, evaluation=None), path, samples=200, license="MIT")
    policy = Policy(path)
    assert (policy.evaluation, policy.license) == (None, "MIT")


def properties(model: onnx.ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}


def shapes(values: Any) -> dict[str, tuple[str | int, int]]:
    dims = {value.name: value.type.tensor_type.shape.dim for value in values}
    return {name: (dim[0].dim_param or dim[0].dim_value, dim[1].dim_value) for name, dim in dims.items()}


def test_inputs_and_outputs_are_those_of_the_policy_file(model: onnx.ModelProto, student: Student) -> None:
    sizes = input_sizes(student.contract)
    assert list(sizes) == [
        *(reading.name for reading in student.contract.readings),
        "goal_position",
        "goal_orientation",
    ]
    assert shapes(model.graph.input) == {name: ("batch", size) for name, size in sizes.items()}
    assert shapes(model.graph.output) == {"joint_position_command": ("batch", 7), REACHABILITY_OUTPUT: ("batch", 1)}
    values = [*model.graph.input, *model.graph.output]
    assert all(value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT for value in values)


def test_graph_is_small_and_keeps_layer_norm_whole(model: onnx.ModelProto, student: Student) -> None:
    operations = [node.op_type for node in model.graph.node]
    assert operations.count("LayerNormalization") == student.config.student.hidden_layers
    assert len(operations) <= 70
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}  # any ONNX runtime can run it


def test_file_is_self_contained_and_nothing_else_is_left(exported: tuple[Path, Certificate]) -> None:
    path, _ = exported
    assert list(path.parent.iterdir()) == [path]
    model = onnx.load(str(path), load_external_data=False)
    assert all(not tensor.external_data for tensor in model.graph.initializer)


def test_certificate_holds_and_travels_in_the_file(
    exported: tuple[Path, Certificate], model: onnx.ModelProto, student: Student
) -> None:
    contract, certificate = read_metadata(properties(model), path="student.onnx")
    assert contract == student.contract
    assert certificate == exported[1]
    assert certificate.samples == SAMPLES
    assert 0 <= certificate.p99_abs_error <= certificate.max_abs_error <= 1e-5
    assert certificate.nodes == len(model.graph.node)
    assert 0 < certificate.tick_us_p50 <= certificate.tick_us_p99


def test_a_bit_that_flips_anywhere_in_the_file_is_noticed(exported: tuple[Path, Certificate], tmp_path: Path) -> None:
    content, path, rng = exported[0].read_bytes(), tmp_path / "student.onnx", np.random.default_rng(0)
    require_intact(exported[0], exported[1])
    for place in rng.integers(0, len(content), 200):
        harmed = bytearray(content)
        harmed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(harmed)
        with pytest.raises(ShoalError, match=r"student\.onnx: damaged or changed after export"):
            require_intact(path, exported[1])


def test_a_changed_weight_is_noticed_by_all_that_read_policies(
    exported: tuple[Path, Certificate], model: onnx.ModelProto, tmp_path: Path
) -> None:
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    weight = next(tensor for tensor in changed.graph.initializer if len(tensor.raw_data) > 100)
    weight.raw_data = bytes([weight.raw_data[0] ^ 1]) + weight.raw_data[1:]
    path = tmp_path / "student.onnx"
    onnx.save(changed, str(path))
    for read in (Policy, lambda path: OnnxPolicy(path, batch=1), lambda path: read_contract(str(path))):
        read(exported[0])
        with pytest.raises(ShoalError, match="damaged or changed after export"):
            read(path)


def test_a_full_disk_leaves_the_file_that_was_there(
    student: Student, exported: tuple[Path, Certificate], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only writing may meet the full disk: JAX would leave half an entry in its cache, for other tests to read.
    monkeypatch.setattr("export.write.convert", lambda student: onnx.load(str(exported[0])))
    monkeypatch.setattr("export.write.certify", lambda *_, **__: exported[1])
    path = tmp_path / "student.onnx"
    path.write_bytes(exported[0].read_bytes())
    with limited_files(2000), pytest.raises(ShoalError, match=r"cannot write .*student\.onnx: File too large"):
        export_student(student, path, samples=200)
    require_intact(path, exported[1])
    assert list(tmp_path.iterdir()) == [path]


def test_golden_outputs_are_repeated_by_the_file(exported: tuple[Path, Certificate], model: onnx.ModelProto) -> None:
    _, certificate = exported
    inputs = {name: np.array(value, np.float32) for name, value in certificate.golden_inputs.items()}
    outputs = dict(zip(certificate.golden_outputs, make_session(model).run(None, inputs), strict=True))
    for name, expected in certificate.golden_outputs.items():
        np.testing.assert_allclose(outputs[name], expected, atol=1e-5)


def test_plain_keys_carry_every_float_exactly(model: onnx.ModelProto, student: Student) -> None:
    found, joints = properties(model), student.contract.robot.joints
    exact = {
        "joint_stiffness": [joint.stiffness for joint in joints],
        "joint_damping": [joint.damping for joint in joints],
        "default_joint_pos": [joint.home_position for joint in joints],
        "action_scale": list(student.contract.action.step_max),
    }
    for key, values in exact.items():
        assert [float(text) for text in found[key].split(",")] == values
    assert found["joint_names"].split(",") == list(student.contract.joint_names)
    assert found["observation_names"].split(",") == [reading.name for reading in student.contract.readings]


@pytest.mark.parametrize("key", [CONTRACT_KEY, CONTRACT_DIGEST_KEY, CERTIFICATE_KEY])
def test_missing_metadata_is_refused(key: str, model: onnx.ModelProto) -> None:
    found = properties(model)
    del found[key]
    with pytest.raises(ShoalError, match=key.replace(".", r"\.")):
        read_metadata(found, path="student.onnx")


def test_metadata_changed_after_export_is_refused(model: onnx.ModelProto) -> None:
    found = properties(model)
    contract = json.loads(found[CONTRACT_KEY])
    contract["robot"]["joints"][3]["damping"] += 1e-9
    with pytest.raises(ShoalError, match="changed after export"):
        read_metadata(found | {CONTRACT_KEY: json.dumps(contract)}, path="student.onnx")


def joint_changed(**fields: float) -> Callable[[Contract], Contract]:
    def change(contract: Contract) -> Contract:
        first = contract.robot.joints[0].model_copy(update=fields)
        robot = contract.robot.model_copy(update={"joints": (first, *contract.robot.joints[1:])})
        return contract.model_copy(update={"robot": robot})

    return change


def joints_reordered(contract: Contract) -> Contract:
    joints = contract.robot.joints
    return contract.model_copy(
        update={"robot": contract.robot.model_copy(update={"joints": (joints[1], joints[0], *joints[2:])})}
    )


def period_changed(contract: Contract) -> Contract:
    return contract.model_copy(update={"timing": contract.timing.model_copy(update={"control_dt_s": 0.02})})


def digest_changed(contract: Contract) -> Contract:
    return contract.model_copy(update={"robot": contract.robot.model_copy(update={"mjcf_sha256": "0" * 64})})


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        (joint_changed(stiffness=123.5), "robot.joints[0].stiffness", "123.5"),
        (joint_changed(position_max=2.125), "robot.joints[0].position_max", "2.125"),
        (joint_changed(velocity_max=9.5), "robot.joints[0].velocity_max", "9.5"),
        (joints_reordered, "robot.joints[0].name", "fr3_joint2"),
        (period_changed, "timing.control_dt_s", "0.02"),
        (digest_changed, "robot.mjcf_sha256", "0" * 64),
    ],
)
def test_student_of_another_robot_or_rate_is_refused_and_no_file_is_left(
    change: Callable[[Contract], Contract], field: str, value: str, student: Student, tmp_path: Path
) -> None:
    today = student.contract.model_dump(mode="json")
    for part in field.replace("[", ".").replace("]", "").split("."):
        today = today[int(part)] if part.isdigit() else today[part]
    with pytest.raises(ContractMismatch) as caught:
        export_student(replace(student, contract=change(student.contract)), tmp_path / "student.onnx")
    assert f"{field}: {value!r}" in str(caught.value) or f"{field}: {value}" in str(caught.value)
    assert f"{today!r} in the task today" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_graph_that_differs_from_the_student_is_not_written(
    student: Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One weight changes between JAX and ONNX."""
    bias = student.params.policy["params"]["mean_head"]["bias"]
    policy = jax.tree.map(lambda leaf: leaf + 1e-2 if leaf is bias else leaf, student.params.policy)
    other = replace(student, params=student.params._replace(policy=policy))
    monkeypatch.setattr(export.write, "convert", lambda _: convert(other))
    with pytest.raises(ShoalError, match=r"differ by .* no file was written"):
        export_student(student, tmp_path / "student.onnx", samples=200)
    assert list(tmp_path.iterdir()) == []


def test_student_whose_weights_are_not_numbers_is_not_written(student: Student, tmp_path: Path) -> None:
    broken = replace(student, params=jax.tree.map(lambda leaf: leaf * np.nan, student.params))
    with pytest.raises(ShoalError, match="no file was written"):
        export_student(broken, tmp_path / "student.onnx", samples=200)
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), magnitude=st.sampled_from([1.0, 10.0, 1e3, 1e6]))
def test_commands_keep_joint_limits_and_speed_for_any_readings(
    seed: int, magnitude: float, session: Any, student: Student
) -> None:
    contract, rng = student.contract, np.random.default_rng(seed)
    inputs = extreme_inputs(contract, 64, seed)
    for name in ("joint_velocity", "end_effector_position", "goal_position"):
        inputs[name] = (inputs[name] * magnitude * rng.choice([-1, 1], inputs[name].shape)).astype(np.float32)
    command, reachability = session.run(None, inputs)
    low = np.array([joint.position_min for joint in contract.robot.joints], np.float32)
    high = np.array([joint.position_max for joint in contract.robot.joints], np.float32)
    scale = np.array(contract.action.step_max, np.float32)
    assert ((command >= low) & (command <= high)).all()
    assert (np.abs(command - inputs["joint_position_target"]) <= scale + 1e-6).all()
    assert ((reachability >= 0) & (reachability <= 1)).all()


def test_batch_and_single_inputs_agree_with_jax(model: onnx.ModelProto, student: Student) -> None:
    inputs = extreme_inputs(student.contract, 32, seed=5)
    session = make_session(model)
    together = session.run(None, inputs)
    one = [session.run(None, {name: value[7:8] for name, value in inputs.items()})[i] for i in range(2)]
    trained = physical_function(student)(*inputs.values())
    for whole, single, reference in zip(together, one, trained, strict=True):
        np.testing.assert_allclose(whole[7:8], single, atol=1e-6)
        np.testing.assert_allclose(whole, reference, atol=1e-5)
