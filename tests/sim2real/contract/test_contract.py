"""The contract: exact round trips, a digest that misses nothing, differences in words."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from pydantic import ValidationError

from sim2real.contract import Contract, Joint, differences, require_same_interface
from sim2real.errors import ContractMismatch
from sim2real.tasks.task import load_task
from tests.sim2real.strategies import contracts

ONLY_VALUE = {"schema_version", "kind", "interpolation"}
"""Fields whose type has a single value, so that no other is valid."""

CHOICES = {"kind": ["hinge", "slide", "tendon"], "mode": ["effort", "velocity"], "base": ["fixed", "floating"]}

REFERENCES = {"name", "measured", "previous", "position", "orientation", "size"}
"""Names of readings, which have to be those of others, and their sizes, which goals have to fit."""

Path = tuple[str | int, ...]


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every leaf of a dumped contract with its path."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from leaves(item, (*path, key))
    else:
        yield path, value


def replaced(value: Any, path: Path, leaf: Any) -> Any:
    """A deep copy of a dumped contract with one leaf replaced."""
    copy = json.loads(json.dumps(value))
    place = copy
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = leaf
    return copy


def others(path: Path, leaf: Any) -> list[Any]:
    """Different values to try, the nearest ones first: a digest must notice the last bit."""
    if path[-1] == "source":
        return ["encoder" if leaf != "encoder" else "estimator"]
    if path[-1] in CHOICES:
        return [choice for choice in CHOICES[str(path[-1])] if choice != leaf]
    if leaf is None:
        return [-50.0, 50.0]
    if isinstance(leaf, float):
        tried = [math.nextafter(leaf, math.inf), math.nextafter(leaf, -math.inf), leaf / 2 + 0.1]
        return [value for value in tried if value != leaf]  # 0.2 is its own half plus 0.1
    return [leaf + 1] if isinstance(leaf, int) else [leaf + "x", leaf + "yz"]


def valid(data: Any) -> Contract | None:
    try:
        return Contract.model_validate_json(json.dumps(data))
    except ValidationError:
        return None


@given(contracts())
def test_json_round_trip_is_exact(contract: Contract) -> None:
    for text in (contract.model_dump_json(), contract.canonical_json):
        again = Contract.model_validate_json(text)
        assert again == contract
        assert again.canonical_json == contract.canonical_json
        assert again.digest == contract.digest
        assert differences(again, contract) == []


@given(contracts())
@settings(max_examples=8)
def test_every_leaf_changes_the_digest_and_is_named(contract: Contract) -> None:
    dump = contract.model_dump(mode="json")
    for path, leaf in leaves(dump):
        if path[-1] in ONLY_VALUE and path[:2] != ("robot", "joints"):
            assert valid(replaced(dump, path, f"not {leaf}")) is None, path
            continue
        changed = [other for value in others(path, leaf) if (other := valid(replaced(dump, path, value))) is not None]
        assert changed or path[-1] in REFERENCES, f"no other valid value for {path} = {leaf!r}"
        for other in changed:
            assert other.digest != contract.digest, path
            named = [name for name, _, _ in differences(contract, other)]
            assert named == [f"{path[0]}" + "".join(f"[{k}]" if isinstance(k, int) else f".{k}" for k in path[1:])]


def test_negative_zero_equals_zero_and_reads_the_same(pose_contract: Contract) -> None:
    dump = pose_contract.model_dump(mode="json")
    assert dump["robot"]["joints"][0]["home_position"] == 0.0
    negative = Contract.model_validate(replaced(dump, ("robot", "joints", 0, "home_position"), -0.0))
    assert negative == pose_contract
    assert negative.digest == pose_contract.digest


def changed(contract: Contract, path: Path, leaf: Any) -> Contract:
    return Contract.model_validate(replaced(contract.model_dump(mode="json"), path, leaf))


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("robot", "joints", 2, "stiffness"), 2999.5, "robot.joints[2].stiffness: 3000.0 in teacher"),
        (("robot", "joints", 5, "position_max"), 4.5, "robot.joints[5].position_max: 4.5169 in teacher"),
        (("timing", "control_dt_s"), 0.08, "timing.control_dt_s: 0.04 in teacher"),
        (("robot", "mjcf_sha256"), "0" * 64, "robot.mjcf_sha256: '"),
    ],
)
def test_mismatch_names_field_and_both_values(pose_contract: Contract, path: Path, value: Any, named: str) -> None:
    other = changed(pose_contract, path, value)
    with pytest.raises(ContractMismatch) as caught:
        require_same_interface(pose_contract, other, left_name="teacher", right_name="robot")
    message = str(caught.value)
    assert named in message
    assert f"{value!r} in robot" in message


def test_swapped_joints_are_a_mismatch(pose_contract: Contract) -> None:
    first, second, *rest = pose_contract.robot.joints
    robot = pose_contract.robot.model_copy(update={"joints": (second, first, *rest)})
    swapped = pose_contract.model_copy(update={"robot": robot})
    assert ("robot.joints[0].name", "fr3_joint1", "fr3_joint2") in differences(pose_contract, swapped)
    with pytest.raises(ContractMismatch, match=r"joints\[0\]\.name: 'fr3_joint1' in file, 'fr3_joint2' in robot"):
        require_same_interface(pose_contract, swapped, left_name="file", right_name="robot")


def test_lineage_and_calibration_belong_to_one_policy(pose_contract: Contract) -> None:
    other = pose_contract.with_lineage(student="b", teacher_depth=64)
    other = changed(other, ("reachability", "threshold"), 0.25)
    require_same_interface(pose_contract, other, left_name="a", right_name="b")
    assert {path for path, _, _ in differences(pose_contract, other)} == {
        "lineage.student",
        "lineage.teacher_depth",
        "reachability.threshold",
    }
    assert other.lineage.student == "b"
    with pytest.raises(ValidationError):
        pose_contract.with_lineage(depth=64)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("robot", "joints", 3, "home_position"), 0.0, "is outside"),
        (("robot", "joints", 3, "position_min"), -0.1, "must be below position_max"),
        (("robot", "joints", 3, "name"), "fr3_joint1", "names must be unique"),
        (("robot", "joints", 3, "effort_max"), 0.0, "greater than 0"),
        (("action", "step_max", 0), 0.2, "above the joint's velocity limit"),
        (("action", "step_max"), [0.01, 0.01], "2 entries for 7 joints"),
        (("goal", "position_min_m", 2), 0.8, "must be below position_max_m z=0.7"),
        (("timing", "control_dt_s"), 0.041, "whole multiple"),
        (("readings", 1, "name"), "joint_position", "readings: the name 'joint_position' stands 2 times"),
        (("readings", 1, "source"), "hearsay", "source: input should be 'encoder'"),
        (("readings", 1, "size"), 0, "size of joint_velocity are not stated"),
        (("readings", 0, "name"), "where", "action joint_position_increment needs joint_position"),
        (("goal", "hold_s"), "Infinity", "finite number"),
        (("goal", "color"), "red", "color is not a known key"),
    ],
)
def test_contradictions_are_refused(pose_contract: Contract, path: Path, value: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        changed(pose_contract, path, value)


def test_timing_in_steps(pose_contract: Contract) -> None:
    timing = pose_contract.timing
    assert timing.substeps * timing.physics_dt_s == pytest.approx(timing.control_dt_s)
    assert timing.episode_steps * timing.control_dt_s == pytest.approx(timing.episode_s)


def test_parts_are_immutable(pose_contract: Contract) -> None:
    joint: Joint = pose_contract.robot.joints[0]
    with pytest.raises(ValidationError, match="frozen"):
        joint.home_position = 1.0  # type: ignore[misc]


def test_a_mismatch_of_two_robots_is_a_sentence_and_not_their_joints() -> None:
    with pytest.raises(ContractMismatch) as caught:
        require_same_interface(
            load_task("franka_pose").contract, load_task("ant").contract, left_name="recording", right_name="policy"
        )
    message = str(caught.value)
    assert "robot.name: 'franka_fr3' in recording, 'ant' in policy" in message
    assert re.search(r"\(and \d+ more fields\)", message)
    assert len(message) < 800
