from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from runtime.control.input_copies import merged


@given(order=st.permutations(range(5)), swapped=st.booleans())
def test_as_many_values_arrive_in_fewer_copies(order: list[int], swapped: bool) -> None:
    left, right = np.zeros(10, np.float32), np.arange(10.0)
    sides = [(left[2 * i : 2 * i + 2], right[2 * i : 2 * i + 2]) for i in order]
    if swapped:
        sides[0], sides[1] = (sides[0][0], sides[1][1]), (sides[1][0], sides[0][1])
    wanted = np.zeros_like(left)
    for to, source in sides:
        to[:] = source
    wanted[:], left[:] = left, 0
    copies = merged(sides)
    for to, source in copies:
        to[:] = source
    np.testing.assert_array_equal(left, wanted)
    assert swapped or len(copies) == 1


def test_what_is_no_slice_of_one_vector_stays_apart() -> None:
    whole = np.zeros(6)
    sides = [(np.zeros(3), whole[:3]), (np.zeros(3), whole[3:])]
    assert len(merged(sides)) == 2
    assert merged([]) == []
