"""Does a robot answer as its model says? Order, sign, scale and latency of every joint, before any policy may run.

    log = wiggle(robot, contract, joint=2)          # moves it by a few hundredths of a radian and back
    findings = judge(log, joint=2, model=model)     # empty: it answers as the model does

What commands and readings get wrong in the same way, a swapped pair of names say, no log can show: look at the robot
while it moves, or measure the tool independently (`tool_disagreement`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import mujoco
import numpy as np

from sim2real.contract import Contract
from sim2real.errors import ShoalError
from sim2real.logs.log import Log
from sim2real.logs.openloop import simulate, tool_poses

AMPLITUDE_RAD = 0.03
_WIGGLE_S = 1.2
_REST_S = 0.5
_MOVED = 0.2
"""Share of the expected motion below which a joint counts as not moving, and above which another one counts as moving
with it."""
_SCALE_TOLERANCE = 0.15
_TOO_FAR = 3.0
"""Times the amplitude that any joint may be from where it started before the check lets go."""
_LONGEST_LAG_S = 0.4
_TOOL_TOLERANCE_M = 0.01


@dataclass(frozen=True)
class Sample:
    """One reading, policy order."""

    time_s: float
    """Now, on the robot's clock."""
    measured_s: float
    """When it was measured, on the same clock."""
    joint_position: np.ndarray
    """`[J]` rad."""
    joint_velocity: np.ndarray
    """`[J]` rad/s."""
    readings: np.ndarray
    """`[R]`, all of them, laid out by `contract.measured`."""


class Robot(Protocol):
    """What the check needs of a robot, joints in policy order."""

    def read(self) -> Sample:
        """The latest readings."""

    def write(self, target: np.ndarray) -> None:
        """Joint targets `[J]` rad for the coming control period."""

    def wait(self) -> None:
        """Wait until the next control period begins."""


@dataclass(frozen=True)
class Answer:
    """How one joint answered its commands, against the model."""

    joint: str
    moved: str
    """The joint that moved most."""
    gain: float
    """Its motion over the expected one; -1 is against the command."""
    latency_s: float
    """How much later than the model."""
    findings: tuple[str, ...]
    """What is wrong, in words; empty when nothing is."""


def wiggle(robot: Robot, contract: Contract, *, joint: int, amplitude_rad: float = AMPLITUDE_RAD) -> Log:
    """Move one joint by `amplitude_rad` and back, then rest; the log of it, from rest.

    Lets go early, resting where it started, when any joint is farther from its start than three amplitudes.
    """
    period = contract.timing.control_dt_s
    first = robot.read()
    start = first.joint_position.copy()
    _require_within_limits(contract, start)
    limits = contract.robot.joints[joint]
    down = limits.position_max - start[joint] < 2 * amplitude_rad
    ticks = int(np.ceil((_WIGGLE_S + _REST_S) / period))
    along = np.clip(np.arange(ticks) * period / _WIGGLE_S, 0, 1)
    offsets = (-amplitude_rad if down else amplitude_rad) * 0.5 * (1 - np.cos(2 * np.pi * along))
    samples, targets = [first], [start]
    robot.write(start)
    for offset in offsets:
        robot.wait()
        sample = robot.read()
        far = np.abs(sample.joint_position - start).max() > _TOO_FAR * amplitude_rad
        target = start.copy()
        target[joint] += 0.0 if far else offset
        robot.write(target)
        samples.append(sample)
        targets.append(target)
        if far:
            break
    return _log(contract, samples, targets)


def judge(log: Log, *, joint: int, model: mujoco.MjModel, latency_max_s: float = 0.1) -> Answer:
    """Compare the log of `wiggle` with what the model does on the same commands."""
    names = log.contract.joint_names
    expected = simulate([model], log).joint_position[0][:, joint] - log.joint_position[0, joint]
    moved = log.joint_position - log.joint_position[0]
    if np.abs(moved).max() > _TOO_FAR * np.abs(log.command - log.command[0]).max():
        farthest = names[int(np.argmax(np.abs(moved).max(axis=0)))]
        said = f"{names[joint]}: {farthest} moved much farther than commanded, so the check let go"
        return Answer(names[joint], farthest, np.nan, np.nan, (said,))
    if float(expected @ expected) < 1e-10:
        raise ShoalError(f"{names[joint]}: the model itself does not move on this log; use a larger --amplitude-rad.")
    fits = [_lag_and_gain(log.measured_s, expected, moved[:, other]) for other in range(len(names))]
    gains = np.array([gain for _, gain in fits])
    most = int(np.argmax(np.abs(gains)))
    lag, gain = fits[most]
    findings = []
    if abs(gain) < _MOVED:
        findings.append(f"{names[joint]}: nothing moves when it is commanded (at most {abs(gain):.0%} of what should)")
        return Answer(names[joint], names[most], gain, lag, tuple(findings))
    if most != joint:
        findings.append(f"{names[joint]}: {names[most]} moves instead; the order of joints is wrong")
    if gain < 0:
        findings.append(f"{names[joint]}: {names[most]} moves against the command; its sign is wrong")
    if abs(abs(gain) - 1) > _SCALE_TOLERANCE:
        findings.append(f"{names[joint]}: {names[most]} moves {abs(gain):.3g} times as far as the model; wrong scale")
    if lag > latency_max_s:
        findings.append(f"{names[joint]}: {names[most]} answers {lag * 1e3:.0f} ms later than the model; too late")
    along = [names[i] for i in range(len(names)) if i != most and abs(gains[i]) > _MOVED]
    if along:
        findings.append(f"{names[joint]}: {', '.join(along)} moves along; commands reach more than one joint")
    return Answer(names[joint], names[most], gain, lag, tuple(findings))


def tool_disagreement(log: Log, model: mujoco.MjModel) -> float:
    """Largest distance, m, between the tool as read and as the model has it at the joints as read.

    Tells only where the robot measures or computes its tool by itself.
    """
    tool = [r for r in log.contract.readings if r.axes == 3 and r.about == log.contract.robot.end_effector_frame]
    if not tool:
        return 0.0
    position, _ = tool_poses(model, log.contract, log.joint_position)
    return float(np.linalg.norm(position - log.measured(tool[0].name), axis=1).max())


def tool_finding(log: Log, model: mujoco.MjModel) -> str | None:
    """`tool_disagreement` in words, where it is more than a centimetre."""
    distance = tool_disagreement(log, model)
    if distance <= _TOOL_TOLERANCE_M:
        return None
    return (
        f"tool: read {distance:.3f} m from where the model has it at these joint readings; joint names, zero positions "
        "or the tool's frame are others than the model's"
    )


def _lag_and_gain(time_s: np.ndarray, expected: np.ndarray, measured: np.ndarray) -> tuple[float, float]:
    """The lag in s and the gain with which `expected` fits `measured` best, all `[T]`."""
    best = (np.inf, 0.0, 0.0)
    step = float(np.median(np.diff(time_s))) / 10
    for lag in np.arange(-10, int(_LONGEST_LAG_S / step) + 1) * step:
        shifted = np.interp(time_s - lag, time_s, expected)
        energy = float(shifted @ shifted)
        if energy < 0.25 * float(expected @ expected):
            continue  # Most of the motion would lie outside the log.
        gain = float(shifted @ measured) / energy
        error = float(np.sum((measured - gain * shifted) ** 2))
        if error < best[0]:
            best = error, float(lag), gain
    return best[1], best[2]


def _require_within_limits(contract: Contract, position: np.ndarray) -> None:
    if not np.isfinite(position).all():
        raise ShoalError(f"check: a joint reads {position.tolist()}; readings must be finite before anything may move.")
    for joint, value in zip(contract.robot.joints, position, strict=True):
        if not joint.position_min <= value <= joint.position_max:
            raise ShoalError(
                f"check: {joint.name} reads {value:.4f} rad, outside its limits [{joint.position_min}, "
                f"{joint.position_max}]; degrees instead of radians, another zero, or another order of joints? "
                "Nothing was moved."
            )


def _log(contract: Contract, samples: list[Sample], targets: list[np.ndarray]) -> Log:
    def stacked(name: str) -> np.ndarray:
        return np.array([getattr(sample, name) for sample in samples])

    readings = contract.measured.split(stacked("readings"))
    return Log(
        contract=contract,
        source="check",
        time_s=stacked("time_s"),
        measured_s=stacked("measured_s"),
        joint_position=stacked("joint_position"),
        joint_velocity=stacked("joint_velocity"),
        command=np.array(targets),
        others=readings,
    )
