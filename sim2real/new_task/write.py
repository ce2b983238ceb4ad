"""The task file: settings that hold in simulation, written with the guesses that led to them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sim2real.actuators.servo_simulation import Drives, simulate_drives
from sim2real.errors import ShoalError, raise_all
from sim2real.files import write_text
from sim2real.new_task.drives import GuessedServo
from sim2real.new_task.proposal import Proposal, guessed_servos
from sim2real.new_task.source import Source, integrate_implicitly, written_copy
from sim2real.new_task.tools import reading_name
from sim2real.robots.config import RobotConfig
from sim2real.robots.description import describe_robot
from sim2real.robots.mjcf import compiled
from sim2real.robots.servos import robot_spec
from sim2real.strict_yaml import dump

_ROUNDS = 6
_WINDOW = 0.3


def write_task(source: Source, proposal: Proposal, path: Path) -> list[Path]:
    """Write the task file, and a copy of the model where it had to be changed; all files that were written."""
    mjcf, servos = _model_file(source, path), dict(proposal.servos)
    if tune_servos(source, proposal, mjcf).problems and integrate_implicitly(source):
        proposal.guesses.append(f"{source.path.name} is not used as it is but as a copy: {source.changes[-1]}")
        mjcf, proposal.servos = _model_file(source, path), servos
        tune_servos(source, proposal, mjcf)
    relative = os.path.relpath(mjcf.resolve(), path.parent.resolve())
    comments = "".join(f"# - {guess}\n" for guess in proposal.guesses)
    head = f"# Made by `sim2real new-task` from {source.path.name}. What it guessed, to be checked against the robot:\n"
    write_text(path, head + comments + dump(task_data(proposal, relative), flow=None))
    return [path, mjcf] if source.changes else [path]


def _model_file(source: Source, path: Path) -> Path:
    """Write a copy of the model beside the task file, where it had to be changed; the file that the task uses."""
    if not source.changes:
        return source.path
    copy = path.with_suffix(".xml")
    if copy.resolve() == source.path.resolve():
        raise ShoalError(
            f"--output: the task uses a changed copy of the model, which would lie beside it and replace {source.path} "
            "itself; give another --output."
        )
    write_text(copy, written_copy(source, path.parent))
    return copy


def tune_servos(source: Source, proposal: Proposal, mjcf: Path) -> Drives:
    """Make declared servos stiffer or softer until they hold home and follow small steps, as far as that goes; the
    file's own that don't get a declared one. How the last ones did.
    """
    drives = _simulated(proposal, mjcf)
    weak = [mover for mover in proposal.movers if mover.name not in proposal.servos and _fails(drives, mover.name)]
    if weak:
        proposal.servos |= guessed_servos(source, proposal.movers, weak, proposal.home_qpos)
        names = ", ".join(mover.name for mover in weak)
        proposal.guesses.append(f"servo of {names}: the file's own does not follow small steps; another is declared")
        drives = _simulated(proposal, mjcf)
    for _ in range(_ROUNDS):
        changed = {name: _better(servo, drives, name) for name, servo in proposal.servos.items()}
        if changed == proposal.servos:
            break
        proposal.servos = changed
        drives = _simulated(proposal, mjcf)
    return drives


def _fails(drives: Drives, name: str) -> bool:
    return any(
        joint.name == name and (joint.restless or joint.swings or not joint.arrives or abs(joint.sag) > _WINDOW)
        for joint in drives.joints
    )


def _simulated(proposal: Proposal, mjcf: Path) -> Drives:
    config = RobotConfig.model_validate(robot_data(proposal, str(mjcf)))
    model = compiled(robot_spec(mjcf, config.servos(), tool=config.end_effector_site), mjcf)
    model.opt.timestep = proposal.physics_dt_s
    robot, home, problems = describe_robot(config, model)
    raise_all(problems, what="new-task")
    assert robot is not None
    return simulate_drives(model, robot, home, window=_WINDOW)


def _better(servo: GuessedServo, drives: Drives, name: str) -> GuessedServo:
    if not drives.joints:
        return servo.softer()
    seen = next((joint for joint in drives.joints if joint.name == name), None)
    if seen is None:
        return servo
    if seen.restless or seen.swings:
        return servo.softer()
    return servo.stiffer() if abs(seen.sag) > _WINDOW / 6 or not seen.arrives or seen.load > 0.9 else servo


def robot_data(proposal: Proposal, mjcf: str) -> dict[str, Any]:
    """The part `robot` of the task file."""
    data: dict[str, Any] = {
        "name": proposal.name.rsplit("_", 1)[0],
        "mjcf": mjcf,
        "joints": [mover.name for mover in proposal.movers],
        "velocity_max": proposal.velocity_max,
        "home": proposal.home,
    }
    if len(proposal.tools) == 1 or proposal.pushed is not None:
        data["end_effector_site"] = proposal.tools[0]
    if proposal.servos:
        data["servo"] = {
            name: {"stiffness": servo.stiffness, "damping": servo.damping, "effort_max": servo.effort_max}
            for name, servo in proposal.servos.items()
        }
    return data


def task_data(proposal: Proposal, mjcf: str) -> dict[str, Any]:
    """The whole task file as plain data."""
    parts = {"walk": _walking, "push": _pushing}.get(proposal.kind, _reaching)(proposal)
    timing = {
        "physics_dt_s": proposal.physics_dt_s,
        "control_dt_s": proposal.control_dt_s,
        "episode_s": proposal.episode_s,
    }
    head = {"name": proposal.name, "robot": robot_data(proposal, mjcf)}
    around = {"kind": "around_home", "half_range": proposal.reach.half_range}
    return head | parts | {"timing": timing, "resets": [around, *parts.get("resets", [])]}


_JOINTS = ["joint_position", "joint_velocity", "joint_position_target"]
_TOOL = ["end_effector_position", "end_effector_orientation"]
_STEPS = {"kind": "joint_position_increment", "velocity_fraction": 0.5, "window": _WINDOW}


def _reaching(proposal: Proposal) -> dict[str, Any]:
    goals = [_goal(proposal, box) for box in proposal.reach.boxes]
    if len(goals) == 1:
        return {"readings": [*_JOINTS, *_TOOL], "action": _STEPS, "goal": goals[0]}
    readings = list[Any](_JOINTS)
    for goal, tool in zip(goals, proposal.tools, strict=True):
        name = reading_name(tool)
        for what in ("position", "orientation") if proposal.kind == "pose" else ("position",):
            goal[what] = f"{name}_{what}"
            readings.append({"kind": what, "name": goal[what], "of": tool})
    return {"readings": readings, "action": _STEPS, "goal": {"kind": "together", "goals": goals}}


def _goal(proposal: Proposal, box: tuple[list[float], list[float]]) -> dict[str, Any]:
    goal: dict[str, Any] = {"kind": "tool_position", "position_min_m": box[0], "position_max_m": box[1]}
    return goal | ({"kind": "tool_pose", "orientation_weight_m": 0.3} if proposal.kind == "pose" else {})


def _pushing(proposal: Proposal) -> dict[str, Any]:
    pushed = proposal.pushed
    assert pushed is not None
    goal = {
        "kind": "object_position",
        "position_min_m": [*pushed.low, pushed.height[0]],
        "position_max_m": [*pushed.high, pushed.height[1]],
    }
    near = {"of": proposal.tools[0], "share": 0.7, "distance_m": 0.1}
    return {
        "readings": [*_JOINTS, *_TOOL, {"kind": "object_position", "of": pushed.name}],
        "features": [{"kind": "difference", "of": "object_position", "minus": "end_effector_position"}],
        "action": _STEPS,
        "goal": goal,
        "resets": [{"kind": "free_body", "body": pushed.name, "min_m": pushed.low, "max_m": pushed.high, "near": near}],
    }


def _walking(proposal: Proposal) -> dict[str, Any]:
    base = proposal.base
    assert base is not None
    turned = {"kind": "orientation", "name": "base_orientation", "of": base.name, "source": "odometry"}
    return {
        "readings": [
            *_JOINTS,
            {"kind": "projected_gravity", "of": base.unit},
            {"kind": "base_angular_velocity", "body": base.name},
            {"kind": "planar_position", "name": "base_position", "of": base.name, "source": "odometry"},
            turned,
        ],
        "teacher_readings": [
            {"kind": "base_linear_velocity", "body": base.name},
            {"kind": "height", "of": base.name, "typical_m": float(f"{base.height_m:.2g}")},
        ],
        "action": {"kind": "joint_position_about_home", "reach": 0.5, "velocity_fraction": 0.8},
        "goal": {"kind": "planar_position", "position_min_m": [-base.goal_m] * 2, "position_max_m": [base.goal_m] * 2},
        "resets": [
            {
                "kind": "free_body",
                "body": base.name,
                "min_m": [-0.1, -0.1],
                "max_m": [0.1, 0.1],
                "turned": True,
                "lift_m": base.lift_m,
            }
        ],
        "terminations": [
            {"kind": "tilt", "of": base.name, "max_deg": 75},
            {"kind": "height", "of": base.name, "min_m": base.fallen_m},
        ],
    }
