"""Recompute a recording's commands from its readings and goals, with the same safety layer and policy, bit for bit."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from runtime.control.policy_controller import PolicyController
from runtime.goals.messages import ResolvedGoal
from runtime.inference.policy import Policy
from runtime.robot.model import find_model
from runtime.robot.readings import Readings
from runtime.safety import SafetyConfig
from runtime.safety.geometry import geometry_checker_for
from runtime.status import Reason, State
from sim2real.contract import require_same_interface
from sim2real.errors import ShoalError, first_line, problems, shown
from sim2real.logs.recording import Recording, number, read_recording

_SHOWN = 5
_STATES = {state.label: state for state in State}


@dataclass
class Replay:
    """How a replay compares with what was recorded."""

    ticks: int = 0
    compared: int = 0
    """Ticks that could be recomputed; before the others something is missing."""
    different: int = 0
    """Ticks whose command differs in any bit."""
    max_difference_rad: float = 0.0
    lost: int = 0
    """Ticks missing from the recording; the replay takes the recorded command over after each gap."""
    first: list[str] = field(default_factory=list)
    """The first few differences, in words."""
    note: str = ""
    """A sentence about what the recording lacks; empty where it is complete."""


def replay(path: Path, model: Path, mjcf: Path | None = None) -> Replay:
    """Replay a recording with a policy file, and the robot's MJCF where that does not ship.

    Raises `ShoalError` when they do not belong together, and when no tick of the recording can be recomputed.
    """
    recording = read_recording(path)
    # Two engines agree to a few millionths of a radian, and not bit for bit.
    policy = Policy(
        model, engine="kernel" if recording.facts.get("engine", "").startswith("C kernel") else "onnxruntime"
    )
    require_same_interface(
        recording.contract, policy.contract, left_name="the recording", right_name=f"policy {model.name}"
    )
    result = compare(recording, core_of(recording, policy, mjcf))
    if not result.compared:
        raise ShoalError(f"{path.name}: holds no tick that can be recomputed. {recording.note}".rstrip())
    return result


def core_of(recording: Recording, policy: Policy, mjcf: Path | None = None) -> PolicyController:
    """A core with the safety settings, and the geometry if any, of a recording."""
    facts = recording.facts
    if "safety" not in facts:
        raise ShoalError(f"{recording.path.name}: says nothing of its safety settings; it cannot be replayed.")
    try:
        config = SafetyConfig.model_validate_json(facts["safety"])
    except ValidationError as error:
        raise ShoalError(f"{recording.path.name}: safety settings: {problems(error)}; update Shoal.") from error
    geometry_checker = None
    # What older recordings call it.
    if facts.get("geometry", facts.get("guard")) == "on":
        geometry_checker = geometry_checker_for(find_model(policy.contract, mjcf), policy.contract, config)
        if geometry_checker is None:
            raise ShoalError(
                f"{recording.path.name}: was made with the robot's geometry, and no MJCF with the contract's digest "
                f"{policy.contract.robot.mjcf_sha256[:12]} is at hand; give it with --mjcf."
            )
    return PolicyController(policy, safety=config, geometry_checker=geometry_checker)


def compare(recording: Recording, core: PolicyController) -> Replay:
    """Compute the commands of a recording again; raises `ShoalError` at what this version does not know."""
    result, joints = Replay(note=recording.note), len(core.contract.joint_names)
    readings, out, previous = Readings.of(core.contract), np.zeros(joints), 0
    memories = sum(message["kind"] == "memory" for topic, message in recording.messages if topic == "/event")
    lost = False
    for topic, message in recording.messages:
        if topic == "/event" and message["kind"] == "memory":
            memories -= 1
            if lost:
                _recall(core, message)
                lost = False
            continue
        if topic == "/event":
            _apply(core, message)
            continue
        result.ticks += 1
        gap = message["tick"] - previous - 1
        previous = message["tick"]
        if gap or lost:
            # What happened in between is unknown. The recording says later where the loop stood, or, if it is an old
            # one, go on from what was commanded at the end of the gap.
            result.lost += gap
            lost = memories > 0
            _take_over(core, message)
            continue
        result.compared += 1
        _fill(readings, message)
        with np.errstate(all="ignore"):  # of recorded numbers that no robot would have measured
            commanding = core.step(readings, number(message["now_s"]), out)
        recorded = np.array([number(x) for x in message["command"]])
        same = commanding == message["commanding"] and (not commanding or np.array_equal(out, recorded))
        if not same:
            _note(result, core, message, out, recorded, commanding)
    return result


def _recall(core: PolicyController, message: dict[str, Any]) -> None:
    try:
        core.recall(message["memory"])
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise ShoalError(
            f"recording: what the loop remembered after tick {message['tick']} is not what this version remembers "
            f"({type(error).__name__}: {first_line(error)}); use the version that recorded it."
        ) from error


def _fill(readings: Readings, message: dict[str, Any]) -> None:
    for name, value in readings.named.items():
        value[:] = [number(x) for x in message[name]]
    readings.joint_effort[:] = [number(x) for x in message["joint_effort"]]
    readings.time_s = number(message["measured_s"])


def _apply(core: PolicyController, message: dict[str, Any]) -> None:
    count, now_s = message["goal_number"], number(message["now_s"])
    match message["kind"]:
        case "goal":
            core.set_goal(_goal(message), number=count, now_s=now_s)
        case "cancel":
            core.cancel_goal(number=count)
        case "restart":
            core.restart(now_s)
        case "stop":
            core.stop()
        case "estop":
            core.estop()
        case "release":
            core.release()
        case "impose":
            reason = _reason(message)
            core.impose(None if reason is Reason.FOLLOWING else reason)
        case other:
            raise ShoalError(f"recording: unknown event {shown(other)}; update Shoal.")


def _goal(message: dict[str, Any]) -> ResolvedGoal:
    return ResolvedGoal(
        id=message["goal_id"],
        request=tuple(map(number, message["request"])),
        position_tolerance_m=number(message["position_tolerance_m"]),
        angle_tolerance_deg=number(message["angle_tolerance_deg"]),
        valid_for_s=number(message["valid_for_s"]),
        speed=number(message.get("speed", 1.0)),
    )


def _reason(message: dict[str, Any]) -> Reason:
    try:
        return Reason[message["reason"].upper()]
    except KeyError as error:
        raise ShoalError(f"recording: unknown reason {shown(message['reason'])}; update Shoal.") from error


def _take_over(core: PolicyController, message: dict[str, Any]) -> None:
    if message["state"] not in _STATES:
        raise ShoalError(f"recording: unknown state {shown(message['state'])}; update Shoal.")
    if message["commanding"]:
        command = np.array([number(x) for x in message["command"]])
        core.safety.resume(command, _STATES[message["state"]], _reason(message))


def _note(
    result: Replay,
    core: PolicyController,
    message: dict[str, Any],
    out: np.ndarray,
    recorded: np.ndarray,
    commanding: bool,
) -> None:
    result.different += 1
    if commanding and message["commanding"]:
        difference = np.abs(out - recorded)
        worst = int(np.nanargmax(difference)) if not np.isnan(difference).all() else 0
        largest = float(difference[worst])
        result.max_difference_rad = max(result.max_difference_rad, largest if math.isfinite(largest) else math.inf)
        joint = core.contract.joint_names[worst]
        said = f"{joint}: {float(recorded[worst])!r} recorded, {float(out[worst])!r} recomputed ({largest:.1e} rad)"
        # Follow the recording, so that one difference is not counted in every tick after it.
        np.copyto(core.safety.target, recorded)
    else:
        said = f"commanding was {message['commanding']}, recomputed {commanding}"
    if len(result.first) < _SHOWN:
        result.first.append(f"tick {message['tick']}, {_reason(message).name.lower()}: {said}")
