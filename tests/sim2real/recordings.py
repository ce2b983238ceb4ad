"""Logs of the planar arm that lifts its own weight, and recordings of logs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.sim2real.hidden_robot import Truth, play
from runtime.diagnostics.trajectory_player import tick_record
from runtime.recording.writer import Recorder
from sim2real.identification.excitation import fourier, random_coefficients
from sim2real.logs.log import Log
from sim2real.logs.robot_check import Sample
from sim2real.tasks.task import Task


def excited(task: Task, truth: Truth, *, duration_s: float = 8.0, seed: int = 0) -> Log:
    """A log of the hidden robot on a random Fourier series."""
    rng = np.random.default_rng(seed)
    coefficients = random_coefficients(len(task.contract.joint_names), rng)
    return play(task, truth, fourier(task, coefficients, duration_s).command, seed=seed)


def record(path: Path, log: Log) -> Path:
    """Write a log as `runtime play` would have."""
    recorder = Recorder(path, log.contract, {})
    for tick in range(len(log)):
        sample = Sample(
            log.time_s[tick],
            log.measured_s[tick],
            log.joint_position[tick],
            log.joint_velocity[tick],
            np.concatenate([log.measured(name)[tick] for name in log.contract.measured.sizes]),
        )
        recorder.write(tick_record(log.contract, tick + 1, sample, log.command[tick], 50_000))
    recorder.close()
    return path
