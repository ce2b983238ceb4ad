"""Films a simulated robot from a process of its own, so that OpenGL and encoder never delay a control tick.

    video = Video(path, mjcf=robot, model=model, period_s=0.04)     # starts `python -m runtime.drivers.video`
    video.add(data)                                                 # once per control period, 250 bytes into a pipe
    video.close()                                                   # waits until everything is drawn

The process is told its configuration in one JSON line, and then every frame as float64 `qpos`, `mocap_pos` and
`mocap_quat`. It draws with MuJoCo, on a graphics card through EGL or in software through OSMesa.
"""

from __future__ import annotations

import importlib
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import mujoco
import numpy as np
from pydantic import BaseModel, ConfigDict

from sim2real.errors import ShoalError
from sim2real.model import load_mjcf

_BACKENDS = ("egl", "osmesa")
_TRY = (
    "import mujoco; model = mujoco.MjModel.from_xml_string('<mujoco/>'); "
    "mujoco.Renderer(model, 8, 8).update_scene(mujoco.MjData(model))"
)
_TRY_TIMEOUT_S = 60.0
_NICENESS = 10


class VideoConfig(BaseModel):
    """What the filming process is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    mjcf: Path
    frames_hz: float
    width: int = 640
    height: int = 480


class Video:
    """One MP4 file, a frame per control period at the speed of the robot's own clock.

    With `wait`, `add` waits while the drawing is far behind, as suits a simulation without a clock; otherwise frames
    are dropped and counted. Raises `ShoalError`, before anything moves, when nothing could be drawn or written.
    """

    def __init__(self, path: Path, *, mjcf: Path, model: mujoco.MjModel, period_s: float, wait: bool) -> None:
        if not path.absolute().parent.is_dir():
            raise ShoalError(f"--video: there is no folder {path.parent}; create it first.")
        if path.suffix != ".mp4":
            raise ShoalError(f"--video: {path} should end in .mp4.")
        if find_spec("imageio_ffmpeg") is None:
            raise ShoalError("--video needs imageio-ffmpeg: pip install 'shoal[video]'.")
        self.dropped, self._path = 0, path
        self._frame = np.zeros(_frame_size(model))
        config = VideoConfig(path=path.absolute(), mjcf=mjcf.absolute(), frames_hz=1 / period_s)
        self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
            [sys.executable, "-m", "runtime.drivers.video"],
            stdin=subprocess.PIPE,
            env={**os.environ, "MUJOCO_GL": find_backend()},
        )
        assert self._process.stdin is not None
        self._pipe = self._process.stdin.fileno()
        os.write(self._pipe, config.model_dump_json().encode() + b"\n")
        os.set_blocking(self._pipe, wait)

    def add(self, data: mujoco.MjData) -> None:
        """Film this moment."""
        if self._process is None:
            return
        positions = data.qpos.size
        self._frame[:positions] = data.qpos
        self._frame[positions : positions + data.mocap_pos.size] = data.mocap_pos.ravel()
        self._frame[positions + data.mocap_pos.size :] = data.mocap_quat.ravel()
        try:
            # Far below the size up to which a pipe takes all or nothing.
            os.write(self._pipe, self._frame.data)
        except BlockingIOError:
            self.dropped += 1
        except BrokenPipeError:
            print(f"video      ended early, {self._path} is not complete", file=sys.stderr, flush=True)
            self._process = None

    def close(self) -> None:
        """Wait until the file is complete."""
        if self._process is None:
            return
        process, self._process = self._process, None
        assert process.stdin is not None
        process.stdin.close()
        lost = f", {self.dropped} frames dropped" if self.dropped else ""
        state = "complete" if process.wait() == 0 else "NOT complete"
        print(f"video      {self._path} is {state}{lost}", flush=True)


def find_backend() -> str:
    """A value of MUJOCO_GL that can draw without a display; raises `ShoalError` when there is none."""
    asked = os.environ.get("MUJOCO_GL", "disable")
    for backend in _BACKENDS if asked == "disable" else (asked,):
        # Each in a process of its own: MuJoCo chooses once, at import.
        tried = subprocess.run(
            [sys.executable, "-c", _TRY],
            env={**os.environ, "MUJOCO_GL": backend},
            capture_output=True,
            timeout=_TRY_TIMEOUT_S,
        )
        if tried.returncode == 0:
            return backend
    raise ShoalError(
        "--video: this machine cannot draw without a display; install a graphics driver with EGL, or libosmesa6."
    )


def film(config: VideoConfig, frames: Iterator[np.ndarray]) -> None:
    """Draw and encode every frame."""
    encoder = importlib.import_module("imageio_ffmpeg")
    model = load_mjcf(config.mjcf)
    model.vis.global_.offwidth, model.vis.global_.offheight = config.width, config.height
    data = mujoco.MjData(model)
    renderer = mujoco.Renderer(model, config.height, config.width)
    writer = encoder.write_frames(str(config.path), (config.width, config.height), fps=config.frames_hz)
    writer.send(None)
    for frame in frames:
        data.qpos[:] = frame[: model.nq]
        data.mocap_pos[:] = frame[model.nq : model.nq + 3 * model.nmocap].reshape(-1, 3)
        data.mocap_quat[:] = frame[model.nq + 3 * model.nmocap :].reshape(-1, 4)
        mujoco.mj_forward(model, data)
        renderer.update_scene(data)
        writer.send(np.ascontiguousarray(renderer.render()))
    writer.close()


def _frame_size(model: mujoco.MjModel) -> int:
    return int(model.nq + 7 * model.nmocap)


def _received(config: VideoConfig) -> Iterator[np.ndarray]:
    """Frames from standard input; a thread empties the pipe, so that slow drawing drops none."""
    waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    size = 8 * _frame_size(load_mjcf(config.mjcf))

    def receive() -> None:
        while len(chunk := sys.stdin.buffer.read(size)) == size:
            waiting.put(chunk)
        waiting.put(b"")

    threading.Thread(target=receive, daemon=True).start()
    while chunk := waiting.get():
        yield np.frombuffer(chunk)


def main() -> None:
    """Entry point of the process."""
    import signal

    # Ctrl-C goes to the whole terminal group; the video ends when its pipe does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(_NICENESS)
    config = VideoConfig.model_validate_json(sys.stdin.buffer.readline())
    film(config, _received(config))


if __name__ == "__main__":
    main()
