from __future__ import annotations

from dataclasses import replace

import pytest

from runtime.realtime.measures import NOTHING, apply


@pytest.mark.parametrize("change", [{"cpu": 99_999_999_999}, {"cpu": -1}, {"fifo_priority": 99_999_999_999}])
def test_numbers_that_no_system_has_are_off_and_not_an_error(change: dict[str, int]) -> None:
    (measure,) = apply(replace(NOTHING, **change))
    assert not measure.on
    assert measure.note
