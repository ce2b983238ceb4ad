"""The difference between two contracts in sentences: what, by how much, and what it does to a policy.

for sentence in sentences(left, right, left_name="student.onnx", right_name="my_robot/pick.yaml"):
    print(sentence)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from sim2real.contract import Contract, differences


@dataclass(frozen=True)
class _Field:
    what: str
    unit: str
    consequence: str


_FIELDS: dict[str, _Field] = {
    r"task": _Field("the task's name", "", "A name alone changes nothing."),
    r"robot\.name": _Field("the robot's name", "", "Drivers and shipped models are found by it."),
    r"robot\.mjcf_sha256": _Field(
        "the compiled robot model", "", "Masses, geometry, contacts or solver options differ: the dynamics are others."
    ),
    r"robot\.joints\[\d+\]\.mode": _Field("what the drive is told", "", "The same command means another motion."),
    r"robot\.joints\[\d+\]\.(kind|continuous|moves.*)": _Field(
        "what the joint is", "", "The same number means another place."
    ),
    r"robot\.joints\[\d+\]\.command_(min|max)": _Field(
        "limit of commands", "rad", "Commands are clamped there, so the joint reaches less or more."
    ),
    r"robot\.joints\[\d+\]\.declared_servo": _Field(
        "whether the task declares the servo", "", "The MJCF is used as it is, or with another actuator."
    ),
    r"robot\.base": _Field("whether the base moves", "", "The robot stands or floats."),
    r"robot\.(standing|held).*": _Field(
        "where everything outside the task is at home", "", "Episodes start with another scene."
    ),
    r"robot\.base_frame": _Field("the base frame", "", "Every position means another place."),
    r"robot\.end_effector_frame": _Field("the tool's frame", "", "The policy brings another point to the goal."),
    r"robot\.joints\[\d+\]\.name": _Field("a joint", "", "Readings and commands belong to other joints."),
    r"robot\.joints\[\d+\]\.position_(min|max)": _Field(
        "position limit", "rad", "The policy's view of the joint is scaled by it, and commands are clamped there."
    ),
    r"robot\.joints\[\d+\]\.velocity_max": _Field(
        "velocity limit", "rad/s", "Velocity readings are scaled by it, and the safety layer clamps there."
    ),
    r"robot\.joints\[\d+\]\.effort_max": _Field(
        "effort limit", "N m", "The servo saturates elsewhere, so fast or loaded motions end up elsewhere."
    ),
    r"robot\.joints\[\d+\]\.stiffness": _Field(
        "servo stiffness", "N m/rad", "Where it is larger, the joint follows its target more tightly and sags less."
    ),
    r"robot\.joints\[\d+\]\.damping": _Field(
        "servo damping", "N m s/rad", "The joint lags by damping over stiffness seconds, so by another time."
    ),
    r"robot\.joints\[\d+\]\.home_position": _Field("home position", "rad", "Episodes start elsewhere."),
    r"readings": _Field("the list of readings", "", "The policy has other inputs."),
    r"readings\[\d+\]\.noise_std": _Field("noise", "", "The policy trusts it more or less."),
    r"readings\[\d+\]\.unit": _Field("unit", "", "The same number means something else."),
    r"readings\[\d+\]\.frame": _Field("frame", "", "The same number means another place."),
    r"readings\[\d+\]\.source": _Field("source", "", "It may be late or noisy in another way."),
    r"readings\[\d+\]\..*": _Field("a reading", "", "The policy has other inputs."),
    r"features.*": _Field("what follows from readings", "", "The policy sees other things."),
    r"terminations.*": _Field("when an episode is over", "", "What counts as a failure differs, motion may not."),
    r"action\.step_max\[\d+\]": _Field(
        "largest step of the target", "rad per control step", "The same output moves the joint farther or less far."
    ),
    r"action\.window": _Field(
        "the window around the measured position", "rad", "A blocked arm presses harder where it is larger."
    ),
    r"action\..*": _Field("how outputs become targets", "", "The same output means another motion."),
    r"goal\.kind": _Field("what a goal is", "", "One policy is asked for other things than the other."),
    r"goal\.frame": _Field("the frame of goals", "", "The same goal means another place."),
    r"goal\.position_(min|max)_m(\[\d\])?": _Field(
        "an edge of the workspace", "m", "Positions are scaled by the workspace, and goals outside it are refused."
    ),
    r"goal\.orientation_weight_m": _Field("the weight of rotation", "m", "Orientation counts more where it is larger."),
    r"goal\.default_orientation_wxyz(\[\d\])?": _Field(
        "the orientation of goals that have none", "", "A position alone asks for another pose."
    ),
    r"goal\.(coarse|fine)_position_m": _Field("a tolerance", "m", "Success is counted differently, motion is not."),
    r"goal\.(coarse|fine)_angle_deg": _Field("a tolerance", "deg", "Success is counted differently, motion is not."),
    r"goal\.hold_s": _Field("how long a goal must hold", "s", "Success is counted differently, motion is not."),
    r"goal\..*": _Field("a part of the goal", "", "The same goal means something else."),
    r"timing\.physics_dt_s": _Field("the physics step", "s", "The simulation differs, most where servos are stiff."),
    r"timing\.control_dt_s": _Field(
        "the control period", "s", "A policy run at another rate moves at another speed and sees another delay."
    ),
    r"timing\.episode_s": _Field("the episode's length", "s", "Reachability means: within that time."),
    r"lineage\..*": _Field("where the policy came from", "", "Belongs to one policy; harmless."),
    r"reachability\..*": _Field("the calibration of reachability", "", "Belongs to one policy; harmless."),
}


def sentences(left: Contract, right: Contract, *, left_name: str, right_name: str) -> list[str]:
    """One for each difference, the order of joints first; joints are compared by name where the names are the same."""
    said = []
    if left.joint_names != right.joint_names and sorted(left.joint_names) == sorted(right.joint_names):
        said.append(
            f"The joints come in another order (robot.joints): {', '.join(left.joint_names)} in {left_name}, "
            f"{', '.join(right.joint_names)} in {right_name}. Numbers of one joint would go to another; below, joints "
            "are compared by name."
        )
        right = _reordered(right, left.joint_names)
    for path, first, second in differences(left, right):
        said.append(_sentence(path, first, second, left, right, left_name, right_name))
    return said


def _sentence(
    path: str, first: Any, second: Any, left: Contract, right: Contract, left_name: str, right_name: str
) -> str:
    field = next((field for pattern, field in _FIELDS.items() if re.fullmatch(pattern, path)), None)
    what, unit, consequence = (field.what, field.unit, field.consequence) if field else (path, "", "")
    of = _owner(path, left, right)
    values = f"{_value(first, unit)} in {left_name}, {_value(second, unit)} in {right_name}{_change(first, second)}"
    where = f" ({path})" if field else ""
    return f"{what[0].upper()}{what[1:]}{of}{where}: {values}. {consequence}".rstrip()


def _owner(path: str, left: Contract, right: Contract) -> str:
    match = re.match(r"(robot\.joints|action\.step_max|readings)\[(\d+)\]", path)
    if match is None:
        return ""
    index = int(match[2])
    names = [
        contract.readings[index].name if match[1] == "readings" else contract.joint_names[index]
        for contract in (left, right)
    ]
    return f" of {names[0]}" if names[0] == names[1] else ""


def _value(value: Any, unit: str) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return ", ".join(str(item.get("name", item)) for item in value)
    plain = f"{value:.10g}" if isinstance(value, float) else f"{value[:12]}..." if _is_digest(value) else str(value)
    return f"{plain} {unit}".rstrip()


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None


def _change(first: Any, second: Any) -> str:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (first, second))
    if not numbers or first == 0 or (first < 0) != (second < 0):
        return ""
    factor = abs(second) / abs(first)
    return f", {factor:.3g} times as much" if factor >= 2 else f", {factor - 1:+.1%}"


def _reordered(contract: Contract, names: tuple[str, ...]) -> Contract:
    order = [contract.joint_names.index(name) for name in names]
    robot = contract.robot.model_copy(update={"joints": tuple(contract.robot.joints[i] for i in order)})
    action = contract.action.model_copy(update={"step_max": tuple(contract.action.step_max[i] for i in order)})
    return contract.model_copy(update={"robot": robot, "action": action})
