"""A moving picture of a robot that walks to one place after another, and faces there where it is told to.

    python -m benchmarks.report.walking_animation models/quadruped_walk.onnx [--quick] [--output PATH.gif]

The file runs in ONNX Runtime on MuJoCo physics, and every frame is ray traced, so no OpenGL is needed. About a second a
frame and core.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import mujoco
import numpy as np
import tyro
from PIL import Image
from rich.progress import track

from benchmarks.report.animation import save
from benchmarks.report.raytrace import Camera, Capsules, render
from benchmarks.report.recording import Geometry
from runtime.control.mujoco_controller import Controller
from runtime.goals.messages import GoalPlanar
from runtime.inference.policy import Policy
from runtime.safety import SafetyConfig, load_safety
from sim2real.console import command_line
from sim2real.errors import ShoalError
from sim2real.robots.kinematics import Addresses
from sim2real.tasks.task import Task, load_task

_FRAME_S = 0.1
_DWELL_S = 0.6
_LONGEST_S = 12.0
_PLACES = ((1.2, 0.8, 1.6), (-0.5, 1.1, -2.6), (0.2, -0.6, 0.3))
"""x and y in m, yaw in rad."""
_ON_THE_WAY, _ARRIVED = np.array([0.75, 0.30, 0.04]), np.array([0.02, 0.45, 0.16])


@dataclass(frozen=True)
class Arguments:
    """Draw a robot that walks."""

    file: tyro.conf.Positional[Path]
    safety: Path | None = Path("models/quadruped_walk.safety.yaml")
    """Settings of the safety layer."""
    output: Path = Path("docs/images/quadruped_walk.gif")
    width: int = 320
    height: int = 200
    samples: int = 2
    """Squared, rays a pixel."""
    quick: bool = False
    """One place, small and coarse."""


@dataclass(frozen=True)
class Frame:
    """What is seen at a moment."""

    qpos: np.ndarray
    goal: np.ndarray
    """`[3]`: x, y, yaw."""
    arrived: bool


def walked(
    task: Task, file: Path, places: tuple[tuple[float, float, float], ...], safety: SafetyConfig | None = None
) -> Iterator[Frame]:
    """A frame of every control step, from home to each place in turn; `ShoalError` where it falls."""
    controller, model, timing = Controller(file, safety=safety), task.model, task.contract.timing
    data = Addresses.of(model, task.contract.robot).home_data(model)
    for place in places:
        controller.set_goal(GoalPlanar(planar=place))
        there_s = 0.0
        for _ in range(round(_LONGEST_S / timing.control_dt_s)):
            for _ in range(timing.substeps):
                data.ctrl[:] = controller.step(data)
                mujoco.mj_step(model, data)
            if any(term.over(np, task.scene.simulated([data]))[0] for term in task.contract.terminations):
                raise ShoalError(f"walking_animation: {file.name} fell on the way to {place}.")
            yield Frame(data.qpos.copy(), np.array(place), controller.status.reached)
            there_s += timing.control_dt_s * controller.status.reached
            if there_s >= _DWELL_S:
                break


def drawn(task: Task, geometry: Geometry, frame: Frame) -> tuple[Capsules, np.ndarray]:
    """Robot and goal as capsules, and where the robot is, `[3]` m."""
    model, data = task.model, mujoco.MjData(task.model)
    data.qpos[:] = frame.qpos
    mujoco.mj_kinematics(model, data)
    radius, colour = geometry.looks(model)
    rows = [
        (start, end, r, c**2.2, 0.0, 0) for (start, end), r, c in zip(geometry.ends(data), radius, colour, strict=True)
    ]
    for box in np.flatnonzero(model.geom_type == mujoco.mjtGeom.mjGEOM_BOX):
        rows += [(a, b, r, model.geom_rgba[box, :3] ** 2.2, 0.0, 0) for a, b, r in _as_capsules(model, data, int(box))]
    rows += [(a, b, 0.012, _ARRIVED if frame.arrived else _ON_THE_WAY, 0.85, 1) for a, b in pairwise(_ring(frame.goal))]
    start, end, widths, colours, glow, group = zip(*rows, strict=True)
    numbers = np.array(start), np.array(end), np.array(widths), np.array(colours), np.array(glow), np.array(group)
    return Capsules(*numbers), data.xpos[1].copy()


def _as_capsules(
    model: mujoco.MjModel, data: mujoco.MjData, box: int
) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    """A box, as capsules side by side along its longest axis."""
    size, turn, centre = model.geom_size[box], data.geom_xmat[box].reshape(3, 3), data.geom_xpos[box]
    order = np.argsort(size)
    wide, long = turn[:, order[1]], turn[:, order[2]]
    radius = float(size[order[0]])
    spread = size[order[1]] - radius
    half = (size[order[2]] - radius) * long
    for share in (-1.0, 0.0, 1.0):
        middle = centre + share * spread * wide
        yield middle - half, middle + half, radius


def _ring(goal: np.ndarray) -> np.ndarray:
    """A circle on the ground, and a stroke out of its middle towards where to face, as one line `[P, 3]` m."""
    x, y, yaw = goal
    angles = yaw + np.linspace(0, 2 * math.pi, 25)
    circle = np.stack([x + 0.25 * np.cos(angles), y + 0.25 * np.sin(angles), np.full(25, 0.012)], axis=-1)
    stroke = np.array([[x + r * math.cos(yaw), y + r * math.sin(yaw), 0.012] for r in (0.45, 0.05)])
    return np.concatenate([circle, stroke])


def main() -> None:
    """Exit status 2 and one sentence where the robot falls."""
    arguments = tyro.cli(Arguments, description=__doc__)
    task = load_task(Policy(arguments.file).contract.task)
    safety = None if arguments.safety is None else load_safety(arguments.safety)
    shrink, places = (4, _PLACES[:1]) if arguments.quick else (1, _PLACES)
    size, samples = (arguments.width // shrink, arguments.height // shrink), 1 if arguments.quick else arguments.samples
    step, geometry = round(_FRAME_S / task.contract.timing.control_dt_s), Geometry(task.model)
    frames = list(walked(task, arguments.file, places, safety))[::step]
    images, target = [], None
    for frame in track(frames, "rendering"):
        capsules, base = drawn(task, geometry, frame)
        # The camera looks between robot and goal, and follows lazily, so that one sees how far it walks.
        between = base + 0.4 * (np.array([*frame.goal[:2], 0.0]) - base)
        target = between if target is None else target + 0.06 * (between - target)
        camera = Camera(tuple(target + np.array([1.7, -2.6, 1.5])), tuple(target * (1, 1, 0) + (0, 0, 0.15)), focal=1.6)
        images.append(Image.fromarray(render(capsules, camera, width=size[0], height=size[1], samples=samples)))
    save(images, arguments.output, frame_s=_FRAME_S)
    print(arguments.output)


if __name__ == "__main__":
    with command_line():
        main()
