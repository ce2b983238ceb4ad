"""Shows a simulated robot in MuJoCo's own viewer, in a window of a process of its own.

The window can be turned, zoomed and closed at any time; the robot doesn't notice. What is pushed or moved in it stays
in it: it shows the robot, and only its control loop moves it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import mujoco
from pydantic import BaseModel, ConfigDict

from runtime.drivers.pictures.frames import Frames, begin, place, received
from sim2real.errors import ShoalError
from sim2real.robots.mjcf import load_mjcf


class ViewerConfig(BaseModel):
    """What the process with the window is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mjcf: Path


class Viewer:
    """One window. Raises `ShoalError` when there is no display to open it on."""

    def __init__(self, *, mjcf: Path, model: mujoco.MjModel, wait: bool) -> None:
        require_display()
        config = ViewerConfig(mjcf=mjcf.absolute())
        self._frames = Frames("runtime.drivers.pictures.viewer", config, model, wait=wait, drawing="glfw")

    def add(self, data: mujoco.MjData) -> None:
        """Show this moment."""
        if not self._frames.add(data):
            print("viewer     closed", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Close the window."""
        self._frames.close()


def require_display() -> None:
    """Raises `ShoalError` on machines without a window system that MuJoCo's viewer can use."""
    if sys.platform == "darwin":
        raise ShoalError("--viewer: on macOS a window needs the process's main thread; use --page or --video.")
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise ShoalError("--viewer: there is no display here (DISPLAY is not set); use --page or --video.")


def main() -> None:
    """Entry point of the process: show frames until they end or the window is closed."""
    config = ViewerConfig.model_validate_json(begin())
    import mujoco.viewer

    model = load_mjcf(config.mjcf)
    data = mujoco.MjData(model)
    with mujoco.viewer.launch_passive(model, data, show_left_ui=False, show_right_ui=False) as viewer:
        for frame in received(model, newest=True):
            if not viewer.is_running():
                break
            with viewer.lock():
                place(model, data, frame)
            viewer.sync()


if __name__ == "__main__":
    main()
