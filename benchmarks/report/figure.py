"""The README's picture: several arms, each at a goal that the policy file reached on its own.

    python -m benchmarks.report.figure models/franka_pose.onnx [--output docs/images/franka_pose.png]

The file runs in the process on MuJoCo physics; the arm's collision capsules, the tool's path and the goal's axes
are ray traced, so no OpenGL is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path

import numpy as np
import tyro

from benchmarks.report.raytrace import Camera, Capsules, render
from benchmarks.report.recording import Recording, Visit, goals_from_pool, record
from runtime.inference.policy import Policy
from sim2real.console import command_line
from sim2real.errors import ShoalError
from sim2real.tasks.goal_pool import sample_goal_pool
from sim2real.tasks.task import load_task

_SPACING_M = 0.95
_AXIS_M = 0.11
_AXIS_COLOURS = ((0.80, 0.06, 0.07), (0.05, 0.42, 0.12), (0.05, 0.18, 0.85))
_PATH_COLOUR = (0.20, 0.22, 0.78)
_REACHED_COLOUR = (0.02, 0.45, 0.16)
GOALS_SEED = 11_000_017
"""Of the goals shown; no training and no evaluation draws from it."""


@dataclass(frozen=True)
class Arguments:
    """Draw arms at the goals that a policy file reached."""

    file: tyro.conf.Positional[Path]
    output: Path = Path("docs/images/franka_pose.png")
    arms: int = 4
    width: int = 1400
    height: int = 470
    samples: int = 2
    """Squared, rays a pixel."""
    seed: int = 0


def main() -> None:
    """Exit status 2 and one sentence when the file does not run or reaches too few goals."""
    arguments = tyro.cli(Arguments)
    draw(arguments)
    print(arguments.output)


def draw(arguments: Arguments) -> None:
    """Record, choose, render, write."""
    import matplotlib.image

    recordings = reaching(arguments.file, arguments.arms, arguments.seed)
    image = picture(recordings, width=arguments.width, height=arguments.height, samples=arguments.samples)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    matplotlib.image.imsave(arguments.output, image)


def reaching(policy: Path, count: int, seed: int) -> list[Recording]:
    """Recordings from home to one goal each, of the first `count` goals that are reached and well apart."""
    task = load_task(Policy(policy).contract.task)
    candidates = goals_from_pool(sample_goal_pool(task, size=8 * count, seed=GOALS_SEED + seed), 8 * count)
    chosen: list[Recording] = []
    for goal in candidates:
        apart = all(np.linalg.norm(np.subtract(goal.position, other.visits[0].position)) > 0.25 for other in chosen)
        if not apart or goal.position[2] < 0.15:
            continue
        recording = record(policy, [goal], task=task)
        if recording.visits[0].reached_frame is not None:
            chosen.append(recording)
        if len(chosen) == count:
            return chosen
    raise ShoalError(
        f"figure: {policy.name} reached {len(chosen)} of the {count} goals wanted, out of {len(candidates)}."
    )


def picture(recordings: Sequence[Recording], *, width: int, height: int, samples: int) -> np.ndarray:
    """`[height, width, 3]` bytes: the last pose of every recording, side by side."""
    azimuth, elevation, distance = -0.95, 0.30, 5.6
    sideways = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    shift = (np.arange(len(recordings)) - (len(recordings) - 1) / 2) * _SPACING_M
    parts = [
        scene(recording, -1, recording.visits[0], offset=s * sideways, group=group)
        for group, (recording, s) in enumerate(zip(recordings, shift, strict=True))
    ]
    capsules = Capsules(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Capsules)))
    back = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
    target = np.array([0.0, 0.0, 0.43]) + 0.2 * sideways
    span = (len(recordings) - 1) * _SPACING_M + 1.05
    camera = Camera(tuple(target + distance * back), tuple(target), focal=distance * width / height / span)
    return render(capsules, camera, width=width, height=height, samples=samples)


def scene(
    recording: Recording,
    frame: int,
    visit: Visit,
    *,
    offset: np.ndarray | float = 0.0,
    group: int = 0,
    tail: int = 10**6,
) -> Capsules:
    """The arm at a frame, the last `tail` steps of its tool's path, and a visit's goal; moved by `offset` `[3]` m."""
    linear = recording.colour**2.2
    last = frame % len(recording.segments)
    rows = [
        (start, end, radius, colour, 0.0)
        for (start, end), radius, colour in zip(recording.segments[last], recording.radius, linear, strict=True)
    ]
    path = recording.tool_position[max(0, last - tail) : last + 1]
    rows += [(a, b, 0.0055, np.array(_PATH_COLOUR), 0.85) for a, b in pairwise(path)]
    goal = np.array(visit.position)
    columns = _rotation(visit.orientation_wxyz).T
    rows += [
        (goal, goal + _AXIS_M * axis, 0.0075, np.array(colour), 0.6)
        for axis, colour in zip(columns, _AXIS_COLOURS, strict=True)
    ]
    rows.append((goal, goal, 0.017, np.array(_REACHED_COLOUR), 0.6))
    start, end, radius, colour, glow = (np.array(column, float) for column in zip(*rows, strict=True))
    return Capsules(start + offset, end + offset, radius, colour, glow, np.full(len(rows), group))


def _rotation(wxyz: tuple[float, float, float, float]) -> np.ndarray:
    """Rotation matrix of a unit quaternion wxyz."""
    import mujoco

    matrix = np.zeros(9)
    mujoco.mju_quat2Mat(matrix, np.array(wxyz, float))
    return matrix.reshape(3, 3)


if __name__ == "__main__":
    with command_line():
        main()
