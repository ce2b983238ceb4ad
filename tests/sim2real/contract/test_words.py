"""Every field of a contract has words, and joints in another order are one finding, not fourteen."""

from __future__ import annotations

import re
from typing import Any

import pytest

from sim2real.contract import Contract
from sim2real.contract.words import _FIELDS, sentences


def leaves(value: Any, path: str = "") -> list[str]:
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in leaves(item, f"{path}.{key}" if path else key)]
    if isinstance(value, list):
        return [leaf for i, item in enumerate(value) for leaf in leaves(item, f"{path}[{i}]")]
    return [path]


def test_every_field_has_words(pose_contract: Contract) -> None:
    paths = [path for path in leaves(pose_contract.model_dump(mode="json")) if path != "schema_version"]
    assert [path for path in paths if not any(re.fullmatch(pattern, path) for pattern in _FIELDS)] == []


def changed(contract: Contract, **changes: Any) -> Contract:
    return contract.model_copy(update=changes)


def words(left: Contract, right: Contract) -> list[str]:
    return sentences(left, right, left_name="A", right_name="B")


def test_equal_contracts_need_no_words(pose_contract: Contract) -> None:
    assert words(pose_contract, pose_contract) == []


def test_another_order_of_joints_is_one_sentence(pose_contract: Contract) -> None:
    names = pose_contract.joint_names
    order = [1, 0, *range(2, 7)]
    robot = changed(pose_contract.robot, joints=tuple(pose_contract.robot.joints[i] for i in order))  # type: ignore[arg-type]
    action = changed(pose_contract.action, step_max=tuple(pose_contract.action.step_max[i] for i in order))  # type: ignore[arg-type]
    (said,) = words(pose_contract, changed(pose_contract, robot=robot, action=action))
    assert said.startswith(f"The joints come in another order (robot.joints): {', '.join(names)} in A")
    assert "Numbers of one joint would go to another" in said


@pytest.mark.parametrize(("value", "change"), [(0.04, "-50.0%"), (0.16, "2 times as much"), (0.1, "+25.0%")])
def test_numbers_have_units_and_a_change(pose_contract: Contract, value: float, change: str) -> None:
    timing = changed(pose_contract.timing, control_dt_s=0.08)  # type: ignore[arg-type]
    other = changed(pose_contract.timing, control_dt_s=value)  # type: ignore[arg-type]
    (said,) = words(changed(pose_contract, timing=timing), changed(pose_contract, timing=other))
    assert said.startswith(f"The control period (timing.control_dt_s): 0.08 s in A, {value:g} s in B, {change}. ")
    assert said.endswith("another speed and sees another delay.")
