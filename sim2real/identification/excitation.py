"""Joint trajectories that make parameters visible: finite Fourier series (Swevers et al. 1997) within limits.

    best = suggest(problem, task, duration_s=20, candidates=60, seed=0)
    write_trajectory(best, Path("excite.csv"))      # runtime play --trajectory excite.csv ...

Candidates are judged by the information that a log of theirs would hold: log det of J^T J (D-optimality), J by
simulation at the nominal parameters. They begin and end at rest at home, keep a margin to the joint limits, stay below
the policy's own largest speed, and touch nothing.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np

from sim2real.contract import Contract
from sim2real.errors import ShoalError, first_line, shown
from sim2real.files import write_text
from sim2real.identification.fit import Residual
from sim2real.identification.parameters import Problem
from sim2real.logs.log import Log
from sim2real.robots.kinematics import Addresses
from sim2real.tasks.task import Task

HARMONICS = 5
_RAMP_S = 1.0
_MARGIN = 0.1
"""Share of each joint's range that is kept free at both ends."""
_NOISE_STD_RAD = 1e-3
_PRIOR_STD = 0.5


@dataclass(frozen=True)
class Trajectory:
    """Joint targets of `T` control ticks, policy order."""

    contract: Contract
    command: np.ndarray
    """`[T, J]` rad."""

    @property
    def time_s(self) -> np.ndarray:
        """`[T]`, from 0."""
        return self.contract.timing.control_dt_s * np.arange(len(self.command))

    def as_log(self) -> Log:
        """A log with these commands, from rest at the first of them; its readings are not measured ones."""
        time_s, ticks = self.time_s, len(self.command)
        resting = np.tile(self.command[0], (ticks, 1))
        return Log(
            self.contract,
            "trajectory",
            time_s,
            time_s,
            resting,
            np.zeros_like(resting),
            self.command,
        )


@dataclass(frozen=True)
class Suggestion:
    """The best trajectory found, and what it is expected to tell."""

    trajectory: Trajectory
    information: np.ndarray
    """`[P, P]`, unit coordinates, at `noise_std_rad`."""
    first_information: np.ndarray
    """Of the first, random candidate."""
    noise_std_rad: float

    def expected_std(self) -> np.ndarray:
        """Expected deviation of each quantity, in unit coordinates: 0.5 is what was known before."""
        return np.asarray(np.sqrt(np.linalg.inv(self.information + _prior(self.information)).diagonal()))


def random_coefficients(joints: int, rng: np.random.Generator) -> np.ndarray:
    """`[2, J, HARMONICS]`: weights of sines and cosines."""
    return rng.normal(size=(2, joints, HARMONICS)) / np.arange(1, HARMONICS + 1)


def fourier(task: Task, coefficients: np.ndarray, duration_s: float) -> Trajectory:
    """The trajectory of `coefficients` `[2, J, H]`, made as large as the limits allow and faded in and out."""
    contract = task.contract
    joints, period = contract.robot.joints, contract.timing.control_dt_s
    time_s = np.arange(0, duration_s, period)
    phase = 2 * np.pi * np.outer(time_s, np.arange(1, coefficients.shape[2] + 1)) * max(0.1, 2 / duration_s)
    shape = np.sin(phase) @ coefficients[0].T + np.cos(phase) @ coefficients[1].T
    fade = np.minimum(time_s, time_s[-1] - time_s) / min(_RAMP_S, duration_s / 4)
    shape = shape * (0.5 - 0.5 * np.cos(np.pi * np.clip(fade, 0, 1)))[:, None]
    home = np.array([joint.home_position for joint in joints])
    low, high = (np.array([getattr(j, f"position_{end}") for j in joints]) for end in ("min", "max"))
    room = np.stack([home - low, high - home]) - _MARGIN * (high - low)
    reach = np.stack([-shape.min(axis=0), shape.max(axis=0)])
    # A homing position nearer to its limit than the margin leaves that joint a sliver to move in.
    amplitude = np.min(np.maximum(room, 0.01) / np.maximum(reach, 1e-9), axis=0)
    speed = np.abs(np.diff(shape, axis=0)).max(axis=0) / np.array(contract.action.step_max)
    amplitude = np.minimum(amplitude, 1 / np.maximum(speed, 1e-9))
    return Trajectory(contract, home + shape * (amplitude * _free_share(task, home, shape * amplitude)))


def information(problem: Problem, trajectory: Trajectory, *, noise_std_rad: float = _NOISE_STD_RAD) -> np.ndarray:
    """`[P, P]`, unit coordinates: what a log of this trajectory would tell about the problem's quantities."""
    residual = Residual(problem, [trajectory.as_log()], ("joint_position",), 0.0, 0)
    units = problem.parameters.as_nominal_vector()[:, None]
    step = np.where(units[:, 0] > 0.5, -1e-4, 1e-4)
    (raw,) = residual.raw(np.concatenate([units, units + np.diag(step)], axis=1))
    slopes = (raw[1:] - raw[:1]).reshape(len(step), -1) / (step[:, None] * noise_std_rad)
    return np.asarray(slopes @ slopes.T)


def suggest(
    problem: Problem,
    task: Task,
    *,
    duration_s: float = 20.0,
    candidates: int = 60,
    seed: int = 0,
    noise_std_rad: float = _NOISE_STD_RAD,
    progress: Callable[[int, float], None] = lambda done, gain: None,
) -> Suggestion:
    """Search by random candidates, then by changing the best one; `progress(done, gain)` after each.

    `gain` is the log det gained over the first candidate.
    """
    if not duration_s >= 4:
        raise ShoalError(f"--duration-s: {duration_s:g} is too short to excite anything; use 10 or more.")
    rng, joints = np.random.default_rng(seed), len(task.contract.joint_names)
    best: tuple[float, np.ndarray, np.ndarray] | None = None
    first = np.zeros((0, 0))
    for done in range(candidates):
        coefficients = random_coefficients(joints, rng)
        if best is not None and done >= candidates // 3:
            coefficients = best[1] + 0.3 * coefficients
        found = information(problem, fourier(task, coefficients, duration_s), noise_std_rad=noise_std_rad)
        value = float(np.linalg.slogdet(found + _prior(found))[1])
        if best is None:
            first, base = found, value
        if best is None or value > best[0]:
            best = value, coefficients, found
        progress(done + 1, best[0] - base)
    if best is None:
        raise ShoalError(f"--candidates: must be at least 1, got {candidates}.")
    return Suggestion(fourier(task, best[1], duration_s), best[2], first, noise_std_rad)


def write_trajectory(trajectory: Trajectory, path: Path) -> None:
    """CSV: `time_s`, then one column of targets in rad for each joint, by name."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["time_s", *trajectory.contract.joint_names])
    for time_s, row in zip(trajectory.time_s, trajectory.command, strict=True):
        writer.writerow([f"{time_s:.6f}", *(f"{value:.9f}" for value in row)])
    write_text(path, text.getvalue())


def read_trajectory(path: Path, contract: Contract) -> Trajectory:
    """A CSV of `write_trajectory`, or one of your own; `ShoalError` where it does not fit the contract."""
    try:
        # Of UTF-8, with or without a byte order mark, as spreadsheets write it.
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))
    except OSError as error:
        raise ShoalError(f"--trajectory: cannot read {path}: {error.strerror or error}.") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise ShoalError(f"{path}: not a table of numbers: {error}.") from error
    wanted = ["time_s", *contract.joint_names]
    if not rows or sorted(rows[0]) != sorted(wanted):
        raise ShoalError(f"{path}: the columns must be {', '.join(wanted)}; got {shown(rows[0] if rows else '')}.")
    try:
        table = np.array([[float(cell) for cell in row] for row in rows[1:]], np.float64).reshape(-1, len(wanted))
    except ValueError as error:
        raise ShoalError(f"{path}: not a table of numbers: {first_line(error)}.") from error
    columns = [rows[0].index(name) for name in wanted]
    time_s, command = table[:, columns[0]], table[:, columns[1:]]
    period = contract.timing.control_dt_s
    with np.errstate(over="ignore"):
        uneven = np.abs(np.diff(time_s) - period) > 1e-3 * period
    if len(time_s) < 2 or not np.isfinite(table).all() or uneven.any():
        raise ShoalError(f"{path}: give finite targets every {period:g} s, the contract's control period.")
    return Trajectory(contract, command)


def _free_share(task: Task, home: np.ndarray, motion: np.ndarray) -> float:
    """Largest of a few shares of `motion` `[T, J]` around home that touches nothing."""
    addresses = Addresses.of(task.model, task.contract.robot)
    data = addresses.home_data(task.model)

    def touches(share: float) -> bool:
        for offset in motion[::2]:
            addresses.place(data.qpos, home + share * offset)
            mujoco.mj_kinematics(task.model, data)
            mujoco.mj_collision(task.model, data)
            if data.ncon:
                return True
        return False

    return next((share for share in (1.0, 0.8, 0.6, 0.45, 0.3, 0.2, 0.1) if not touches(share)), 0.05)


def _prior(information: np.ndarray) -> np.ndarray:
    return np.eye(len(information)) / _PRIOR_STD**2
