"""Hypothesis strategies for arbitrary valid contracts."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from sim2real.contract import (
    Action,
    Calibration,
    Contract,
    Goal,
    Joint,
    Lineage,
    Reading,
    Robot,
    Timing,
)
from sim2real.terms.actions import JointPositionAboutHome, JointPositionIncrement
from sim2real.terms.goals import ToolPose, ToolPosition
from sim2real.terms.joints import JointPosition, JointPositionTarget, JointVelocity
from sim2real.terms.poses import EndEffectorOrientation, EndEffectorPosition

names = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=12)
file_names = names.filter(lambda name: not name.startswith(".") and not set(name) & {"/", "\\"})
positive = st.floats(1e-3, 1e3)


def number(low: float, high: float) -> st.SearchStrategy[float]:
    """Any double in `[low, high]`, negative zero among them."""
    return st.floats(low, high, allow_nan=False, allow_infinity=False)


@st.composite
def joints(draw: st.DrawFn, name: str) -> Joint:
    """A joint with its home anywhere within its limits, ends included."""
    low = draw(number(-10, 9))
    high = low + draw(number(1e-2, 10))
    return Joint(
        name=name,
        position_min=low,
        position_max=high,
        velocity_max=draw(positive),
        effort_max=draw(positive),
        stiffness=draw(positive),
        damping=draw(number(0, 1e3)),
        home_position=draw(number(low, high)),
    )


@st.composite
def goals(draw: st.DrawFn) -> Goal:
    """A tool's position or pose, in any box."""
    low = draw(st.tuples(number(-5, 5), number(-5, 5), number(-5, 5)))
    x, y, z = (corner + draw(number(1e-2, 5)) for corner in low)
    common: Any = {
        "frame": draw(names),
        "position_min_m": low,
        "position_max_m": (x, y, z),
        "coarse_position_m": draw(positive),
        "coarse_angle_deg": draw(positive),
        "fine_position_m": draw(positive),
        "fine_angle_deg": draw(positive),
        "hold_s": draw(number(0, 10)),
    }
    if draw(st.booleans()):
        return ToolPosition(**common)
    orientation = draw(st.tuples(*[number(-1, 1)] * 4))
    return ToolPose(**common, orientation_weight_m=draw(number(1e-3, 2)), default_orientation_wxyz=orientation)


@st.composite
def readings(draw: st.DrawFn, joints: int) -> tuple[Reading, ...]:
    """What goals and actions need, and some more or less, from any source that a robot has."""
    source, noise = st.sampled_from(["encoder", "forward_kinematics", "estimator"]), number(0, 1)

    def stated(kind: type[Reading], size: int, **fields: Any) -> Reading:
        unit: Any = {"unit": draw(names), "frame": draw(names), "source": draw(source), "noise_std": draw(noise)}
        return kind(name=str(kind.named()), size=size, **(unit | fields))

    found = [
        stated(JointPosition, joints),
        stated(JointPositionTarget, joints, source="last_command"),
        stated(EndEffectorPosition, 3, of=draw(names)),
        stated(EndEffectorOrientation, 4, of=draw(names)),
    ]
    return tuple(found + ([stated(JointVelocity, joints)] if draw(st.booleans()) else []))


@st.composite
def actions(draw: st.DrawFn, step_max: tuple[float, ...]) -> Action:
    """Increments, or positions about home."""
    if draw(st.booleans()):
        return JointPositionIncrement(step_max=step_max, window=draw(positive))
    return JointPositionAboutHome(step_max=step_max, reach=draw(positive))


@st.composite
def contracts(draw: st.DrawFn) -> Contract:
    """Any valid contract of one to four joints."""
    joint_names = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    robot_joints = tuple(draw(joints(name)) for name in joint_names)
    physics_dt = draw(number(1e-4, 0.02))
    control_dt = physics_dt * draw(st.integers(1, 50))
    fractions = [draw(number(0.01, 1)) for _ in robot_joints]
    speeds = zip(fractions, robot_joints, strict=True)
    return Contract(
        task=draw(file_names),
        robot=Robot(
            name=draw(file_names),
            mjcf_sha256=draw(names),
            joints=robot_joints,
            base_frame=draw(names),
            end_effector_frame=draw(names),
        ),
        readings=draw(readings(len(robot_joints))),
        action=draw(actions(tuple(fraction * joint.velocity_max * control_dt for fraction, joint in speeds))),
        goal=draw(goals()),
        timing=Timing(physics_dt_s=physics_dt, control_dt_s=control_dt, episode_s=control_dt * draw(number(1, 1e4))),
        reachability=Calibration(slope=draw(number(-9, 9)), offset=draw(number(-9, 9)), threshold=draw(number(0, 1))),
        lineage=Lineage(
            teacher=draw(names),
            student=draw(names),
            teacher_depth=draw(st.integers(0, 1024)),
            versions=draw(st.dictionaries(names, names, max_size=2)),
        ),
    )
