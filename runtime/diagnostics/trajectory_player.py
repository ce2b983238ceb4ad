"""What `runtime play` does: a trajectory of joint targets on a robot, recorded like a served policy.

There is no policy and no goal. Limits are checked before anything moves; the arm then goes to the first target slowly,
plays, and lets go of the plan where a joint stays behind by more than the contract's window: something is in the way.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from rich.progress import track

from runtime.drivers.base import open_chosen
from runtime.drivers.direct import Direct
from runtime.inference.policy import Policy
from runtime.ipc.telemetry_ring import Kind, record_dtype
from runtime.options import RobotOptions
from runtime.recording.writer import Recorder, require_recordable
from runtime.status import Reason, State
from sim2real.contract import Contract
from sim2real.errors import ShoalError
from sim2real.identification.excitation import Trajectory, read_trajectory
from sim2real.logs.robot_check import Sample

_APPROACH_OF_LIMIT = 0.2
"""Speed of the way to the first target, as a share of the velocity limits."""
_CALM = 0.5
"""Seconds of rest before and after."""


def play(robot: RobotOptions, *, policy: Path, trajectory_csv: Path, record: Path) -> int:
    """Play a trajectory on the robot of a policy file's contract and record it; 0 when it went to the end."""
    contract = Policy(policy).contract
    trajectory = read_trajectory(trajectory_csv, contract)
    require_playable(trajectory)
    require_recordable(record)
    driver = open_chosen(robot, contract)
    facts = {"trajectory": str(trajectory_csv), "driver": driver.description}
    recorder = Recorder(record, contract, facts)
    try:
        ticks = play_on(Direct(driver, contract), trajectory, recorder)
    finally:
        recorder.close()
        driver.close()
    print(f"{ticks} ticks recorded in {record}")
    return 0


def play_on(robot: Direct, trajectory: Trajectory, recorder: Recorder) -> int:
    """Approach, play and record; how many ticks. `ShoalError` where a joint stays behind."""
    contract = trajectory.contract
    first = robot.read()
    commands = np.concatenate([_approach(contract, first.joint_position, trajectory.command[0]), trajectory.command])
    rest = round(_CALM / contract.timing.control_dt_s)
    commands = np.concatenate([commands, np.repeat(trajectory.command[-1:], rest, axis=0)])
    previous, sample = first.joint_position, first
    for tick, command in enumerate(track(commands, "playing", transient=True), start=1):
        started = time.perf_counter_ns()
        sample = robot.read() if tick > 1 else first
        _require_following(contract, sample, previous)
        robot.write(command)
        recorder.write(tick_record(contract, tick, sample, command, time.perf_counter_ns() - started))
        previous = command
        robot.wait()
    return len(commands)


def require_playable(trajectory: Trajectory) -> None:
    """Raise `ShoalError` where a target leaves the position limits, or two of them the velocity limit."""
    contract, period = trajectory.contract, trajectory.contract.timing.control_dt_s
    speed = np.abs(np.diff(trajectory.command, axis=0)) / period
    for index, joint in enumerate(contract.robot.joints):
        column, limit = trajectory.command[:, index], joint.velocity_max
        low, high = joint.command_range
        if column.min() < low or column.max() > high:
            raise ShoalError(
                f"--trajectory: {joint.name} goes from {column.min():.4f} to {column.max():.4f} rad, outside "
                f"its limits [{low}, {high}]."
            )
        if speed[:, index].max() > limit * (1 + 1e-6):
            raise ShoalError(
                f"--trajectory: {joint.name} moves at {speed[:, index].max():.3f} rad/s, above its limit of {limit:g}."
            )


def _approach(contract: Contract, start: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Targets `[K, J]` rad from rest at `start` to `goal`, slowly, with rest at both ends."""
    limits = np.array([joint.velocity_max for joint in contract.robot.joints])
    period = contract.timing.control_dt_s
    # The raised cosine is pi / 2 times as fast in the middle as on average.
    duration = float(np.max(np.abs(goal - start) / (_APPROACH_OF_LIMIT * limits))) * np.pi / 2
    steps = max(1, int(np.ceil(duration / period)))
    share = 0.5 - 0.5 * np.cos(np.pi * np.arange(1, steps + 1) / steps)
    rest = round(_CALM / period)
    way = start + share[:, None] * (goal - start)
    return np.concatenate([np.repeat(start[None], rest, axis=0), way, np.repeat(goal[None], rest, axis=0)])


def _require_following(contract: Contract, sample: Sample, target: np.ndarray) -> None:
    behind = np.abs(sample.joint_position - target)
    worst = int(np.argmax(behind))
    if not behind[worst] <= contract.action.window:
        raise ShoalError(
            f"{contract.joint_names[worst]} is {behind[worst]:.3f} rad from its target, more than the contract's "
            f"window of {contract.action.window:g}: something is in the way. The robot holds its last target."
        )


def tick_record(contract: Contract, tick: int, sample: Sample, command: np.ndarray, tick_ns: int) -> np.ndarray:
    """What a recorder takes for one tick, `[1]` of `runtime.ipc.telemetry_ring.record_dtype`."""
    records = np.zeros(1, record_dtype(contract))
    record = records[0]
    record["kind"], record["wall_ns"], record["now_s"] = Kind.TICK, time.time_ns(), sample.time_s
    record["tick"], record["measured_s"], record["tick_ns"] = tick, sample.measured_s, tick_ns
    record["readings"] = sample.readings
    record["command"], record["commanding"], record["state"] = command, True, State.ACTIVE
    record["reason"] = Reason.FOLLOWING
    record["distance_m"] = record["angle_deg"] = record["reachability"] = np.nan
    return records
