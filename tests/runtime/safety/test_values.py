"""Values that are finite and that no robot can measure are not believed, in whatever reading they stand."""

from __future__ import annotations

import pytest

from runtime.robot.layout import Kind, Layout
from runtime.safety.config import SafetyConfig
from runtime.safety.rules.values import Bounds, out_of_range
from sim2real.tasks.shipped import task_names
from sim2real.tasks.task import load_task


@pytest.mark.parametrize("name", task_names())
def test_every_number_of_a_robots_own_has_bounds(name: str) -> None:
    contract = load_task(name).contract
    bounds, box = Bounds(contract, SafetyConfig()), contract.goal.box()
    for part in Layout.of(contract).parts:
        if part.kind is Kind.ROTATION:
            continue
        for index in range(len(part.labels)):
            low, high = bounds.of(part, index)
            assert -1e9 < low < high < 1e9, part.name
            if contract.reading(part.name).axes > index and box is not None:
                assert (low, high) == (box[0][index] - 3, box[1][index] + 3), part.name


def test_a_base_that_cannot_be_there_is_named() -> None:
    contract = load_task("mobile_base").contract
    (part,) = (part for part in Layout.of(contract).parts if part.name == "base_pose")
    low, high = Bounds(contract, SafetyConfig()).of(part, 0)
    assert (low, high) == (-4.0, 4.0)
    said = out_of_range(part, 0, 1e9, low, high)
    assert said == "base_pose x is 1e+09 m, and must be -4 to 4; is it in millimetres, or in another frame?"
