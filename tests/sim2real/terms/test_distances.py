"""Distances between goals: metric where they should be, blind to full turns and to the quaternion's sign."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sim2real.rotations import conjugate, rotate, rotation_columns, seen_from_columns, yaw
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


def test_a_vector_seen_from_columns_is_that_turned_back() -> None:
    rng = np.random.default_rng(0)
    turns = rng.normal(size=(50, 4)).astype(np.float32)
    turns /= np.linalg.norm(turns, axis=-1, keepdims=True)
    vectors = rng.normal(size=(50, 3)).astype(np.float32)
    seen = seen_from_columns(np, rotation_columns(turns), vectors)
    np.testing.assert_allclose(seen, rotate(conjugate(turns), vectors), atol=1e-5)


def test_what_lies_flat_needs_no_third_axis() -> None:
    angle = np.linspace(-3, 3, 20).astype(np.float32)
    zero = np.zeros_like(angle)
    about_z = np.stack([np.cos(angle / 2), zero, zero, np.sin(angle / 2)], axis=-1)
    np.testing.assert_allclose(yaw(np, about_z), angle, atol=1e-5)
    seen = seen_from_columns(np, rotation_columns(about_z), np.float32([[2.0, 1.0]]))
    c, s = np.cos(angle), np.sin(angle)
    np.testing.assert_allclose(seen, np.stack([2 * c + s, c - 2 * s], axis=-1), atol=1e-5)
