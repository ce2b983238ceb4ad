"""The README's moving picture: an arm that visits one goal after another under a policy file.

    python -m benchmarks.report.animation models/franka_pose.onnx [--quick] [--output docs/images/franka_pose.gif]

The file runs in the process on MuJoCo physics; every frame is ray traced, so no OpenGL is needed. About two seconds a
frame and core.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from PIL import Image
from rich.progress import track

from benchmarks.report.figure import GOALS_SEED, scene
from benchmarks.report.raytrace import Camera, render
from benchmarks.report.recording import Recording, goals_from_pool, record
from runtime.inference.policy import Policy
from sim2real.console import command_line
from sim2real.tasks.goal_pool import sample_goal_pool
from sim2real.tasks.task import load_task

_FRAME_S = 0.08
_TAIL_S = 0.6


@dataclass(frozen=True)
class Arguments:
    """Draw an arm that visits goals."""

    file: tyro.conf.Positional[Path]
    output: Path = Path("docs/images/franka_pose.gif")
    goals: int = 5
    width: int = 480
    height: int = 320
    samples: int = 2
    """Squared, rays a pixel."""
    quick: bool = False
    """Two goals, small and coarse."""


def main() -> None:
    """Exit status 2 and one sentence when the file does not run."""
    arguments = tyro.cli(Arguments)
    draw(arguments)
    print(arguments.output)


def draw(arguments: Arguments) -> None:
    """Record, render, write."""
    task = load_task(Policy(arguments.file).contract.task)
    goals = goals_from_pool(sample_goal_pool(task, size=64, seed=GOALS_SEED), 2 if arguments.quick else arguments.goals)
    recording = record(arguments.file, goals, task=task)
    shrink = 4 if arguments.quick else 1
    size = arguments.width // shrink, arguments.height // shrink
    samples = 1 if arguments.quick else arguments.samples
    step = round(_FRAME_S / recording.control_dt_s)
    numbers = range(0, len(recording.segments), step)
    frames = [_frame(recording, number, size, samples) for number in track(numbers, "rendering")]
    save(frames, arguments.output, frame_s=_FRAME_S)


def save(frames: Sequence[Image.Image], path: Path, *, frame_s: float) -> None:
    """A GIF that begins anew; with one palette for all frames, or the floor flickers."""
    width, height = frames[0].size
    sample = Image.new("RGB", (width, 3 * height))
    for row, frame in enumerate((frames[0], frames[len(frames) // 2], frames[-1])):
        sample.paste(frame, (0, row * height))
    palette = sample.quantize(128, method=Image.Quantize.MEDIANCUT)
    first, *others = (frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames)
    path.parent.mkdir(parents=True, exist_ok=True)
    first.save(path, save_all=True, append_images=others, duration=round(1000 * frame_s), loop=0, optimize=True)


def _frame(recording: Recording, number: int, size: tuple[int, int], samples: int) -> Image.Image:
    visit = next(visit for visit in reversed(recording.visits) if visit.first_frame <= number)
    tail = round(_TAIL_S / recording.control_dt_s)
    azimuth, elevation, distance = -0.95, 0.30, 3.4
    back = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
    target = np.array([0.25, 0.0, 0.42])
    camera = Camera(tuple(target + distance * back), tuple(target), focal=distance * size[0] / size[1] / 1.75)
    capsules = scene(recording, number, visit, tail=tail)
    return Image.fromarray(render(capsules, camera, width=size[0], height=size[1], samples=samples))


if __name__ == "__main__":
    with command_line():
        main()
