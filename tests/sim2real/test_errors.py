"""What is wrong with data is said once, in the same words for a file, a message and a goal."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from sim2real.errors import problems


class _Sample(BaseModel):
    model_config = ConfigDict(extra="forbid")

    place: tuple[float, float] | tuple[float, float, float]
    speed: float = 1.0


def said_of(data: dict[str, Any], of: str = "") -> str:
    with pytest.raises(ValidationError) as caught:
        _Sample.model_validate(data)
    return problems(caught.value, of)


@pytest.mark.parametrize(
    ("data", "of", "said"),
    [
        ({}, "", "place is missing"),
        ({}, "goal", "goal.place is missing"),
        (
            {"place": [0, "x"], "speed": "fast"},
            "goal",
            "goal.place.1: input should be a valid number, unable to parse string as a number, got 'x'; "
            "goal.speed: input should be a valid number, unable to parse string as a number, got 'fast'",
        ),
    ],
)
def test_every_field_is_named_by_its_path_down_to_the_element(data: dict[str, Any], of: str, said: str) -> None:
    assert said_of(data, of) == said


def test_many_problems_are_counted_and_none_is_longer_than_a_sentence() -> None:
    unknown = {f"key{i}" + "y" * 1000: "z" * 1000 for i in range(20)}
    said = said_of({"place": [0, 0], **unknown}, "goal")
    assert said.count("is not a known key") == 8
    assert said.endswith("; and 12 more")
    assert len(said) < 8 * 120
