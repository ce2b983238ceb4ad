from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import mujoco
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from runtime.goals.messages import (
    AnyGoal,
    GoalJoints,
    GoalObject,
    GoalPlanar,
    GoalPose,
    GoalRefused,
    load_goals,
    parse_any_goal,
    parse_goal,
)
from runtime.goals.resolve import place_of_object, validate_goal
from runtime.robot.rotations import angle_between_deg, quaternion_of_rpy
from sim2real.contract import Contract, Quaternion, Vector3
from sim2real.errors import ShoalError
from sim2real.tasks.task import load_task

NOW = 1_800_000_000.0
CONTRACT = load_task("franka_pose").contract
NUMBERS = st.floats(allow_nan=True, allow_infinity=True)


def test_position_alone_gets_the_contracts_orientation_and_tolerance(contract: Contract) -> None:
    goal = validate_goal(contract, GoalPose(position=(0.5, 0.1, 0.4)), NOW)
    assert goal.request == (0.5, 0.1, 0.4, *contract.default_orientation_wxyz)
    assert goal.position_tolerance_m == contract.goal.coarse_position_m
    assert goal.angle_tolerance_deg == contract.goal.coarse_angle_deg
    assert goal.valid_for_s == math.inf


def test_workspace_refusal_names_axis_value_and_box(contract: Contract) -> None:
    with pytest.raises(GoalRefused, match=r"position z=1\.4 m is outside the workspace \[0\.05, 0\.7\] m"):
        validate_goal(contract, GoalPose(position=(0.5, 0.1, 1.4)), NOW)


def test_wrong_frame_is_refused(contract: Contract) -> None:
    with pytest.raises(GoalRefused, match="'camera', but this policy takes goals in 'world'"):
        validate_goal(contract, GoalPose(position=(0.5, 0.1, 0.4), frame="camera"), NOW)


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        (GoalPose(position=(0.5, 0, 0.4), stamp=NOW - 3, timeout_s=2), "3 s old, so its timeout_s of 2"),
        (GoalPose(position=(0.5, 0, 0.4), stamp=NOW + 60), "60.0 s in the future"),
        (GoalPose.model_construct(position=(0.5, math.nan, 0.4), frame="world"), "finite number"),
    ],
)
def test_refusals(contract: Contract, goal: GoalPose, message: str) -> None:
    with pytest.raises(GoalRefused, match=message):
        validate_goal(contract, goal, NOW)


def test_orientation_is_refused_by_a_position_policy() -> None:
    contract = load_task("franka_reach").contract
    goal = GoalPose(position=(0.5, 0, 0.4), orientation_wxyz=(0, 1, 0, 0))
    with pytest.raises(GoalRefused, match="reaches positions only"):
        validate_goal(contract, goal, NOW)


@given(x=st.floats(0.4, 0.6), y=st.floats(-0.2, 0.2), yaw=st.floats(-math.pi, math.pi))
def test_planar_goal_turns_the_default_orientation_about_the_vertical(x: float, y: float, yaw: float) -> None:
    goal = validate_goal(CONTRACT, parse_any_goal({"planar": [x, y, yaw], "height_m": 0.3, "id": "p"}), NOW)
    assert (goal.request[:3], goal.id) == ((x, y, 0.3), "p")
    rotation, default = np.zeros(9), np.zeros(9)
    mujoco.mju_quat2Mat(rotation, np.array(goal.request[3:]))
    mujoco.mju_quat2Mat(default, np.array(CONTRACT.goal.default_orientation_wxyz))
    about_z = np.array([[math.cos(yaw), -math.sin(yaw), 0], [math.sin(yaw), math.cos(yaw), 0], [0, 0, 1]])
    np.testing.assert_allclose(rotation.reshape(3, 3), about_z @ default.reshape(3, 3), atol=1e-9)


def test_planar_goal_without_a_height_is_in_the_middle_of_the_box() -> None:
    for planar in ((0.5, 0.0, 0.0), (0.5, 0.0)):
        goal = validate_goal(CONTRACT, GoalPlanar(planar=planar), NOW)
        assert goal.request[2] == (CONTRACT.goal.position_min_m[2] + CONTRACT.goal.position_max_m[2]) / 2
        assert goal.request[3:] == pytest.approx(CONTRACT.goal.default_orientation_wxyz)


def test_planar_goal_is_refused_outside_the_box_and_by_a_position_policy() -> None:
    with pytest.raises(GoalRefused, match="position z=3 m is outside"):
        validate_goal(CONTRACT, GoalPlanar(planar=(0.5, 0, 0), height_m=3), NOW)
    with pytest.raises(GoalRefused, match=r"goal\.planar was given, but this policy reaches positions only"):
        validate_goal(load_task("franka_reach").contract, GoalPlanar(planar=(0.5, 0, 0)), NOW)


@given(
    place=st.tuples(*[st.floats(-1, 1)] * 3), standoff=st.floats(0, 0.5), approach=st.tuples(*[st.floats(-3, 3)] * 3)
)
def test_object_goal_stands_before_the_object(place: Vector3, standoff: float, approach: Vector3) -> None:
    assume(math.hypot(*approach) > 0.01)
    fields = {"object_position": place, "standoff_m": standoff, "approach": approach}
    goal = parse_any_goal(fields)
    assert isinstance(goal, GoalObject)
    ahead = np.subtract(place, place_of_object(CONTRACT, goal))
    np.testing.assert_allclose(np.linalg.norm(ahead), standoff, atol=1e-9)
    np.testing.assert_allclose(np.cross(ahead, approach), 0, atol=1e-9)
    assert np.dot(ahead, approach) >= -1e-9


def test_object_goal_is_from_above_in_the_default_orientation_and_has_a_direction() -> None:
    for task in ("franka_pose", "franka_reach"):
        contract = load_task(task).contract
        resolved = validate_goal(contract, GoalObject(object_position=(0.5, 0.1, 0.2), id="cup", speed=0.5), NOW)
        assert (resolved.id, resolved.speed) == ("cup", 0.5)
        turn = contract.default_orientation_wxyz if contract.turns else ()
        assert resolved.request == pytest.approx((0.5, 0.1, 0.3, *turn))
    with pytest.raises(GoalRefused, match="approach has the length 0"):
        parse_any_goal({"object_position": [0.5, 0, 0.2], "approach": [0, 0, 0]})
    with pytest.raises(GoalRefused, match=r"goal\.standoff_m"):
        parse_any_goal({"object_position": [0.5, 0, 0.2], "standoff_m": -0.1})


HUGE = 1e308


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"position": [0.5, 0, 0.4], "orientation_wxyz": [HUGE] * 4}, "orientation_wxyz has the length inf"),
        ({"position": [0.5, 0, 0.4], "orientation_wxyz": [HUGE, 0, 0, 0]}, "orientation_wxyz has the length 1e"),
        ({"position": [0.5, 0, 0.4], "orientation_wxyz": [10**400, 0, 0, 0]}, "orientation_wxyz"),
        ({"position": [10**400, 0, 0.4]}, "position"),
        ({"position": [0.5, 0, HUGE]}, "outside the workspace"),
        ({"position": [0.5, 0, 0.4], "rpy": [0, HUGE, 0]}, "rpy.*is it in degrees"),
        ({"position": [0.5, 0, 0.4], "stamp": HUGE}, "in the future"),
        ({"position": [0.5, 0, 0.4], "stamp": -HUGE, "timeout_s": 1}, "has already passed"),
        ({"planar": [0.5, 0, 90]}, "planar.*is it in degrees"),
        ({"planar": [0.5, 0, 0], "height_m": HUGE}, "outside the workspace"),
        ({"object_position": [0.5, 0, 0.4], "approach": [HUGE] * 3}, "approach has the length 1.73"),
        ({"object_position": [0.5, 0, 0.4], "standoff_m": HUGE}, "standoff_m"),
        ({"object_position": [0.5, HUGE, 0.4]}, "outside the workspace"),
        ({"joints": {joint.name: HUGE for joint in CONTRACT.robot.joints}}, "outside the joint's limits"),
    ],
)
def test_numbers_that_overflow_are_refused_whoever_made_the_goal(data: dict, message: str) -> None:
    def resolve(goal: AnyGoal) -> None:
        validate_goal(CONTRACT, goal, NOW, no_kinematics)

    with pytest.raises(GoalRefused, match=message):
        resolve(parse_any_goal(data))
    kinds = {"joints": GoalJoints, "planar": GoalPlanar, "object_position": GoalObject, "position": GoalPose}
    with pytest.raises(GoalRefused, match=message):
        resolve(kinds[next(iter(data))].model_construct(**data))


def test_a_quaternion_without_a_direction_makes_no_angle() -> None:
    for quaternion in ((0.0,) * 4, (HUGE,) * 4, (math.nan, 0, 0, 0), (math.inf, 0, 0, 0)):
        assert math.isnan(angle_between_deg(quaternion, (1.0, 0.0, 0.0, 0.0)))


def no_kinematics(joint_position: Sequence[float]) -> tuple[Vector3, Quaternion]:
    raise AssertionError("a planar goal needs no joints")


def test_age_shortens_the_remaining_time(contract: Contract) -> None:
    goal = GoalPose(position=(0.5, 0, 0.4), stamp=NOW - 3, timeout_s=10)
    assert validate_goal(contract, goal, NOW).valid_for_s == pytest.approx(7)


def test_quaternion_is_normalised_and_immutable() -> None:
    goal = GoalPose(position=(0.5, 0, 0.4), orientation_wxyz=(0, 2, 0, 0))
    assert goal.orientation_wxyz == (0, 1, 0, 0)
    with pytest.raises(ValidationError, match="frozen"):
        goal.frame = "base"


@pytest.mark.parametrize(
    "data",
    [
        {"position": [0.5, 0, math.inf]},
        {"position": [0.5, 0]},
        {"position": [0.5, 0, 0.4], "orientation_wxyz": [0, 0, 0, 0]},
        {"position": [0.5, 0, 0.4], "orientation_wxyz": [1, 0, 0, math.nan]},
        {"position": [0.5, 0, 0.4], "orientation_wxyz": [1, 0, 0, 0], "rpy": [0, 0, 0]},
        {"position": [0.5, 0, 0.4], "speed": 3},
        {"position": [0.5, 0, 0.4], "timeout_s": -1},
        {"position": [0.5, 0, 0.4], "id": "x" * 33},
        "somewhere",
    ],
)
def test_malformed_goals_are_refused_in_one_sentence(data: object) -> None:
    with pytest.raises(GoalRefused) as caught:
        parse_goal(data)
    assert "\n" not in str(caught.value)


def test_rpy_turns_about_fixed_axes_in_the_order_x_y_z() -> None:
    roll, pitch, yaw = 0.3, -0.7, 1.1
    w, x, y, z = quaternion_of_rpy(roll, pitch, yaw)
    vector = np.array([0.2, -0.5, 0.9])
    rx = np.array([[1, 0, 0], [0, np.cos(roll), -np.sin(roll)], [0, np.sin(roll), np.cos(roll)]])
    ry = np.array([[np.cos(pitch), 0, np.sin(pitch)], [0, 1, 0], [-np.sin(pitch), 0, np.cos(pitch)]])
    rz = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    axis = np.array([x, y, z])
    turned = vector + 2 * np.cross(axis, np.cross(axis, vector) + w * vector)
    np.testing.assert_allclose(turned, rz @ ry @ rx @ vector, atol=1e-12)


@given(position=st.tuples(NUMBERS, NUMBERS, NUMBERS), quaternion=st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS))
def test_whatever_is_accepted_is_finite_inside_the_box_and_unit(
    position: tuple[float, ...], quaternion: tuple[float, ...]
) -> None:
    limits = CONTRACT.goal
    try:
        goal = validate_goal(CONTRACT, parse_goal({"position": position, "orientation_wxyz": quaternion}), NOW)
    except GoalRefused:
        return
    assert np.all(np.array(goal.request[:3]) >= limits.position_min_m)
    assert np.all(np.array(goal.request[:3]) <= limits.position_max_m)
    assert math.hypot(*goal.request[3:]) == pytest.approx(1, abs=1e-9)


@given(x=st.floats(0.25, 0.7), y=st.floats(-0.5, 0.5), z=st.floats(0.05, 0.7), q=st.tuples(*[st.floats(-10, 10)] * 4))
def test_every_finite_pose_in_the_box_is_accepted(x: float, y: float, z: float, q: tuple[float, ...]) -> None:
    if math.hypot(*q) < 1e-3:
        return
    goal = validate_goal(CONTRACT, parse_goal({"position": (x, y, z), "orientation_wxyz": q}), NOW)
    assert goal.request[:3] == (x, y, z)


def test_goals_file(tmp_path: Path) -> None:
    path = tmp_path / "goals.yaml"
    path.write_text("- position: [0.5, 0.1, 0.4]\n- {position: [0.4, 0, 0.3], rpy: [3.14159, 0, 0], id: b}\n")
    goals = load_goals(path)
    assert [goal.position for goal in goals] == [(0.5, 0.1, 0.4), (0.4, 0, 0.3)]
    assert goals[1].id == "b"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- position: [0.5, 0.1]\n", "entry 0 of goals.yaml"),
        ("position: [0.5, 0.1, 0.4]\n", "must hold a list"),
        ("- [", "not valid YAML"),
        ("", "must hold a list"),
        (
            "- {position: [0.5, 0, 0.4], orientation_wxyz: [1e308, 1e308, 0, 0]}\n",
            "orientation_wxyz has the length 1.4",
        ),
    ],
)
def test_bad_goals_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "goals.yaml"
    path.write_text(text)
    with pytest.raises(ShoalError, match=message):
        load_goals(path)


def test_missing_goals_file(tmp_path: Path) -> None:
    with pytest.raises(ShoalError, match="cannot read"):
        load_goals(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"speed": 1.0}, r"goal: it says nothing of where to go; give one of joints, .*values\.$"),
        ({"planar": (math.nan, 1.0)}, r"^goal\.planar\.0: input should be a finite number, got nan\.$"),
        ({"planar": (1.0, 2.0, math.inf)}, r"^goal\.planar\.2: input should be a finite number, got inf\.$"),
    ],
)
def test_a_refusal_names_the_field_as_it_was_given(data: dict[str, object], said: str) -> None:
    with pytest.raises(GoalRefused, match=said):
        parse_any_goal(data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"planar": [1, 0], "position": [1, 0, 0]}, "goal: planar and position were given, and each says where to go"),
        ({"planar": [1, 0], "rpy": [0, 0, 0]}, "goal.rpy does not go with planar; leave it out."),
        ({"position": [1, 0, 0], "height_m": 1}, "goal.height_m does not go with position; leave it out."),
    ],
)
def test_fields_of_two_kinds_of_goal_are_refused_by_name(data: dict[str, object], said: str) -> None:
    with pytest.raises(GoalRefused, match=said):
        parse_any_goal(data)
