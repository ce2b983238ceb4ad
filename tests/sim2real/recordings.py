"""Logs of the planar arm that lifts its own weight."""

from __future__ import annotations

import numpy as np

from benchmarks.sim2real.hidden_robot import Truth, play
from sim2real.identification.excitation import fourier, random_coefficients
from sim2real.logs.log import Log
from sim2real.tasks.task import Task


def excited(task: Task, truth: Truth, *, duration_s: float = 8.0, seed: int = 0) -> Log:
    """A log of the hidden robot on a random Fourier series."""
    rng = np.random.default_rng(seed)
    coefficients = random_coefficients(len(task.contract.joint_names), rng)
    return play(task, truth, fourier(task, coefficients, duration_s).command, seed=seed)
