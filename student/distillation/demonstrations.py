"""Recordings of a robot as states for a student: what was seen while a goal was followed, for the teacher to label.

They show where a real robot goes, which simulated episodes may not. What was commanded there is not imitated: the
teacher says what it would have done.

Shapes: `F` ticks of all episodes, `D` observation with history, `G` goal vector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sim2real.contract import Contract, require_same_interface
from sim2real.contract.interface import goal_vector, observe
from sim2real.errors import ShoalError
from sim2real.logs.lerobot import read_episodes
from sim2real.logs.recording import read_recording
from student.history import empty, remember
from teacher.trained import Teacher


class States(NamedTuple):
    """Ticks of recordings, as rollouts have states."""

    observation: np.ndarray
    """`[F, D]`."""
    goal: np.ndarray
    """`[F, G]`."""


def states_of(recordings: Sequence[Path], teacher: Teacher, history_steps: int) -> States:
    """All ticks that follow a goal, but the first of each episode, before which no command is known. `ShoalError` where
    a recording is of another task, or does not hold what the teacher has to see.
    """
    contract = teacher.contract
    _require_told(teacher)
    read = [read_recording(path) for path in recordings]
    for recording in read:
        require_same_interface(contract, recording.contract, left_name="teacher", right_name=str(recording.path))
    episodes = read_episodes(read)
    if "observation.goal" not in episodes.arrays[0]:
        raise ShoalError(f"--demonstrations: {', '.join(map(str, recordings))}: no goal is recorded there.")
    found = [_states(contract, arrays, history_steps) for arrays in episodes.arrays]
    return States(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _require_told(teacher: Teacher) -> None:
    contract = teacher.contract
    own = {reading.name for reading in contract.readings}
    missing = [reading.name for reading in teacher.networks.contract.readings if reading.name not in own]
    missing += [reading.name for reading in contract.readings if reading.source == "clock"]
    if missing:
        raise ShoalError(
            f"--demonstrations: recordings do not hold {', '.join(missing)}, which this teacher has to see; give none."
        )


def _states(contract: Contract, arrays: Mapping[str, np.ndarray], history_steps: int) -> States:
    readings = {name.removeprefix("observation."): values[1:] for name, values in arrays.items()}
    readings |= {"joint_position": readings.pop("state"), contract.action.previous: arrays["action"][:-1]}
    goal = goal_vector(np, contract, readings.pop("goal"))
    observation = observe(np, contract, readings).astype(np.float32)
    if history_steps:
        observation = np.concatenate([observation, _histories(contract, observation, history_steps)], axis=-1)
    return States(observation, goal.astype(np.float32))


def _histories(contract: Contract, observation: np.ndarray, steps: int) -> np.ndarray:
    """What the student remembers at each tick of one episode."""
    history, rows = empty(contract, steps, 1), []
    for seen in observation:
        rows.append(history[0])
        history = np.asarray(remember(contract, steps, seen[None], history))
    return np.stack(rows)
