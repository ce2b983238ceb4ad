"""Films a simulated robot into an MP4 file, from a process of its own.

    video = Video(path, mjcf=robot, model=model, period_s=0.04)     # starts `python -m runtime.drivers.pictures.video`
    video.add(data)                                                 # once per control period
    video.close()                                                   # waits until everything is drawn

It draws with MuJoCo, on a graphics card through EGL or in software through OSMesa.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import mujoco
import numpy as np
from pydantic import BaseModel, ConfigDict

from runtime.drivers.pictures.frames import Frames, begin, place, received
from sim2real.child_process import python_program
from sim2real.drawing import asked_backend
from sim2real.errors import ShoalError
from sim2real.robots.mjcf import load_mjcf

_BACKENDS = ("egl", "osmesa")
_TRY = (
    "import mujoco; model = mujoco.MjModel.from_xml_string('<mujoco/>'); "
    "mujoco.Renderer(model, 8, 8).update_scene(mujoco.MjData(model))"
)
_TRY_TIMEOUT_S = 60.0


class VideoConfig(BaseModel):
    """What the filming process is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    mjcf: Path
    frames_hz: float
    width: int = 640
    height: int = 480


class Video:
    """One MP4 file, a frame per control period at the speed of the robot's own clock; `wait` as in `Frames`.

    Raises `ShoalError`, before anything moves, when nothing could be drawn or written.
    """

    def __init__(self, path: Path, *, mjcf: Path, model: mujoco.MjModel, period_s: float, wait: bool) -> None:
        if not path.absolute().parent.is_dir():
            raise ShoalError(f"--video: there is no folder {path.parent}; create it first.")
        if path.suffix != ".mp4":
            raise ShoalError(f"--video: {path} should end in .mp4.")
        if find_spec("imageio_ffmpeg") is None:
            raise ShoalError("--video needs imageio-ffmpeg: pip install 'shoal[video]'.")
        self._path = path
        config = VideoConfig(path=path.absolute(), mjcf=mjcf.absolute(), frames_hz=1 / period_s)
        self._frames = Frames("runtime.drivers.pictures.video", config, model, wait=wait, drawing=find_backend())

    def add(self, data: mujoco.MjData) -> None:
        """Film this moment."""
        if not self._frames.add(data):
            print(f"video      ended early, {self._path} is not complete", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Wait until the file is complete."""
        complete, dropped = self._frames.close(), self._frames.dropped
        if complete is not None:
            lost = f", {dropped} frames dropped" if dropped else ""
            print(f"video      {self._path} is {'complete' if complete else 'NOT complete'}{lost}", flush=True)


def find_backend() -> str:
    """A value of MUJOCO_GL that can draw without a display; raises `ShoalError` when there is none."""
    asked = asked_backend()
    for backend in (asked,) if asked else _BACKENDS:
        # Each in a process of its own: MuJoCo chooses once, at import.
        tried = subprocess.run(
            python_program(_TRY),
            env={**os.environ, "MUJOCO_GL": backend},
            capture_output=True,
            timeout=_TRY_TIMEOUT_S,
        )
        if tried.returncode == 0:
            return backend
    if asked:
        raise ShoalError(f"--video: nothing can be drawn with MUJOCO_GL={asked}; unset it, or set it to egl or osmesa.")
    raise ShoalError(
        "--video: this machine cannot draw without a display; install a graphics driver with EGL, or libosmesa6."
    )


def film(config: VideoConfig, model: mujoco.MjModel, frames: Iterator[np.ndarray]) -> None:
    """Draw and encode every frame."""
    encoder = importlib.import_module("imageio_ffmpeg")
    model.vis.global_.offwidth, model.vis.global_.offheight = config.width, config.height
    data = mujoco.MjData(model)
    renderer = mujoco.Renderer(model, config.height, config.width)
    writer = encoder.write_frames(str(config.path), (config.width, config.height), fps=config.frames_hz)
    writer.send(None)
    for frame in frames:
        place(model, data, frame)
        renderer.update_scene(data)
        writer.send(np.ascontiguousarray(renderer.render()))
    writer.close()


def main() -> None:
    """Entry point of the process."""
    config = VideoConfig.model_validate_json(begin())
    model = load_mjcf(config.mjcf)
    film(config, model, received(model))


if __name__ == "__main__":
    main()
