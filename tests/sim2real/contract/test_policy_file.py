"""Reading a policy file's metadata: everything that can be wrong is refused in words."""

from __future__ import annotations

import json

import pytest

from sim2real.contract import Contract
from sim2real.contract.policy_file import (
    CERTIFICATE_KEY,
    CONTRACT_DIGEST_KEY,
    CONTRACT_KEY,
    Certificate,
    input_sizes,
    read_metadata,
)
from sim2real.errors import ShoalError


def certificate_of(contract: Contract) -> Certificate:
    return Certificate(
        contract_sha256=contract.digest,
        samples=10,
        max_abs_error=1e-6,
        p99_abs_error=1e-7,
        opset=18,
        nodes=40,
        parameters=1000,
        tick_us_p50=30.0,
        tick_us_p99=60.0,
        machine="test",
        versions={"onnx": "1"},
        golden_inputs={"goal_position": [[0.5, 0.0, 0.4]]},
        golden_outputs={"reachability": [[0.5]]},
    )


def properties_of(contract: Contract) -> dict[str, str]:
    """Metadata as export writes it."""
    return {
        CONTRACT_KEY: contract.model_dump_json(),
        CONTRACT_DIGEST_KEY: contract.digest,
        CERTIFICATE_KEY: certificate_of(contract).model_dump_json(),
    }


def refusal(properties: dict[str, str]) -> str:
    with pytest.raises(ShoalError) as caught:
        read_metadata(properties, path="student.onnx")
    message = str(caught.value)
    assert message.startswith("student.onnx: ")
    return message


def test_what_was_written_is_read(pose_contract: Contract) -> None:
    contract, certificate = read_metadata(properties_of(pose_contract), path="student.onnx")
    assert contract == pose_contract
    assert certificate == certificate_of(pose_contract)


@pytest.mark.parametrize("key", [CONTRACT_KEY, CONTRACT_DIGEST_KEY, CERTIFICATE_KEY])
def test_missing_key(pose_contract: Contract, key: str) -> None:
    properties = properties_of(pose_contract)
    del properties[key]
    assert f"metadata ['{key}'] is missing" in refusal(properties)


@pytest.mark.parametrize(("key", "named"), [(CONTRACT_KEY, "the contract"), (CERTIFICATE_KEY, "the certificate")])
def test_damaged_json(pose_contract: Contract, key: str, named: str) -> None:
    properties = properties_of(pose_contract)
    properties[key] = properties[key][:-20]
    assert f"{named} inside is damaged: the file: invalid JSON" in refusal(properties)


def test_invalid_field_is_named(pose_contract: Contract) -> None:
    properties = properties_of(pose_contract)
    properties[CONTRACT_KEY] = properties[CONTRACT_KEY].replace('"effort_max":87.0', '"effort_max":-87.0', 1)
    assert "robot.joints.0.effort_max" in refusal(properties)


def test_tampered_field(pose_contract: Contract) -> None:
    properties = properties_of(pose_contract)
    data = json.loads(properties[CONTRACT_KEY])
    data["robot"]["joints"][0]["velocity_max"] += 1e-9
    properties[CONTRACT_KEY] = json.dumps(data)
    assert f"but the metadata says {pose_contract.digest[:12]}" in refusal(properties)


def test_certificate_of_another_contract(pose_contract: Contract, reach_contract: Contract) -> None:
    properties = properties_of(pose_contract)
    properties[CERTIFICATE_KEY] = certificate_of(reach_contract).model_dump_json()
    assert f"but the certificate says {reach_contract.digest[:12]}" in refusal(properties)


def test_input_sizes(pose_contract: Contract, reach_contract: Contract) -> None:
    sizes = input_sizes(pose_contract)
    assert list(sizes) == [*(reading.name for reading in pose_contract.readings), "goal_position", "goal_orientation"]
    assert sizes["joint_position"] == 7
    assert sizes["goal_orientation"] == 4
    assert "goal_orientation" not in input_sizes(reach_contract)
