"""Distances between goals: metric where they should be, blind to full turns and to the quaternion's sign."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sim2real.terms import Reading
from sim2real.terms.joints import JointPosition
from sim2real.terms.poses import Orientation, PlanarPose, Position

POSITION = Position(name="p", size=3, of="x")
ORIENTATION = Orientation(name="o", size=4, of="x")
POSE = PlanarPose(name="b", size=3, of="x")
JOINTS = JointPosition(name="q", size=3, slides=(1,), endless=(2,))
coordinate = st.floats(-10, 10)
direction = st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1)
triple = st.tuples(coordinate, coordinate, coordinate)
CASES: list[tuple[Reading, Any]] = [(POSITION, triple), (ORIENTATION, direction), (POSE, triple), (JOINTS, triple)]


@st.composite
def values(draw: st.DrawFn, count: int) -> tuple[Reading, list[tuple[float, ...]]]:
    reading, value = draw(st.sampled_from(CASES))
    return reading, [draw(value) for _ in range(count)]


@given(values(2))
def test_both_ways_are_equally_far_and_nothing_is_far_from_itself(case: tuple[Reading, Any]) -> None:
    reading, (first, second) = case
    assert reading.error(first, second) == pytest.approx(reading.error(second, first), abs=1e-4)
    assert reading.error(first, first) == pytest.approx((0, 0), abs=2e-3)
    assert min(reading.error(first, second)) >= 0


@given(values(2))
def test_a_control_loop_and_an_evaluation_measure_the_same(case: tuple[Reading, Any]) -> None:
    reading, pair = case
    encoded = (reading.encode(np, np.array(value)) for value in pair)
    length, angle = reading.distance(*encoded)
    assert reading.error(*pair) == pytest.approx((float(length), float(angle)), abs=1e-3)


@given(values(3))
def test_no_detour_is_shorter(case: tuple[Reading, Any]) -> None:
    reading, (first, second, third) = case
    direct, one, two = (np.array(reading.error(*p)) for p in ((first, third), (first, second), (second, third)))
    assert (direct <= one + two + 2e-2).all()


@given(direction, direction, st.floats(0.1, 10))
def test_a_quaternion_of_the_other_sign_or_length_is_the_same_rotation(first: Any, second: Any, length: float) -> None:
    other = tuple(-length * x for x in second)
    assert ORIENTATION.error(first, other) == pytest.approx(ORIENTATION.error(first, second), abs=1e-4)


@given(triple, triple, st.integers(-3, 3))
def test_a_full_turn_is_no_turn(first: Any, second: Any, turns: int) -> None:
    turned = (*second[:2], second[2] + 2 * math.pi * turns)
    for reading in (POSE, JOINTS):
        assert reading.error(first, turned) == pytest.approx(reading.error(first, second), abs=1e-3)


@given(triple, st.floats(-3.1, 3.1))
def test_yaw_counts_the_shorter_way_round(place: Any, turn: float) -> None:
    assume(abs(turn) > 1e-3)
    turned = (*place[:2], place[2] + turn)
    assert POSE.error(place, turned) == pytest.approx((0, math.degrees(abs(turn))), abs=1e-3)


@given(triple, st.floats(-1, 1))
def test_slides_are_lengths_and_hinges_are_angles(place: Any, move: float) -> None:
    hinge, slide = ((place[0] + move, *place[1:]), (place[0], place[1] + move, place[2]))
    assert JOINTS.error(place, hinge) == pytest.approx((0, math.degrees(abs(move))), abs=1e-6)
    assert JOINTS.error(place, slide) == pytest.approx((abs(move), 0), abs=1e-6)
