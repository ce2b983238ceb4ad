"""Where a simulated robot's parts are, told to a process that draws them, so that OpenGL never delays a control tick.

    frames = Frames("runtime.drivers.pictures.viewer", config, model, wait=False, drawing="glfw")
    frames.add(data)                     # once per control period, 250 bytes into a pipe
    frames.close()                       # True when the process ended well

The process is told its configuration in one JSON line, and then every frame as float64 `qpos`, `mocap_pos` and
`mocap_quat`; `received` and `place` are its side.
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator

import mujoco
import numpy as np
from pydantic import BaseModel

from runtime.process.output import share_relayed_output
from runtime.process.signals import leave_ending_to_parent
from sim2real.child_process import python_module

_NICENESS = 10


class Frames:
    """A drawing process and the pipe to it.

    With `wait`, `add` waits while the drawing is far behind, as suits a simulation without a clock; otherwise frames
    are dropped and counted.
    """

    def __init__(self, module: str, config: BaseModel, model: mujoco.MjModel, *, wait: bool, drawing: str) -> None:
        self.dropped = 0
        self._frame = np.zeros(_size(model))
        self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
            python_module(module), stdin=subprocess.PIPE, env={**os.environ, "MUJOCO_GL": drawing}
        )
        assert self._process.stdin is not None
        self._pipe = self._process.stdin.fileno()
        os.write(self._pipe, config.model_dump_json().encode() + b"\n")
        os.set_blocking(self._pipe, wait)

    def add(self, data: mujoco.MjData) -> bool:
        """Tell this moment; False when the process is gone, and from then on True, in silence."""
        if self._process is None:
            return True
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
            self._process = None
            return False
        return True

    def close(self) -> bool | None:
        """End the pipe, wait for the process, and say whether it ended well; None when it was gone before."""
        if self._process is None:
            return None
        process, self._process = self._process, None
        assert process.stdin is not None
        process.stdin.close()
        return process.wait() == 0


def place(model: mujoco.MjModel, data: mujoco.MjData, frame: np.ndarray) -> None:
    """Put the model where a received frame says."""
    data.qpos[:] = frame[: model.nq]
    data.mocap_pos[:] = frame[model.nq : model.nq + 3 * model.nmocap].reshape(-1, 3)
    data.mocap_quat[:] = frame[model.nq + 3 * model.nmocap :].reshape(-1, 4)
    mujoco.mj_forward(model, data)


def received(model: mujoco.MjModel, *, newest: bool = False) -> Iterator[np.ndarray]:
    """Frames from standard input; a thread empties the pipe, so that slow drawing drops none. With `newest`, those
    that came while the last one was drawn are skipped but for the last.
    """
    waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    size = 8 * _size(model)

    def receive() -> None:
        while len(chunk := sys.stdin.buffer.read(size)) == size:
            waiting.put(chunk)
        waiting.put(b"")

    threading.Thread(target=receive, daemon=True).start()
    while chunk := waiting.get():
        while newest and not waiting.empty() and chunk:
            chunk = waiting.get()
        if not chunk:
            return
        yield np.frombuffer(chunk)


def begin() -> bytes:
    """What a drawing process does first; returns its configuration as JSON."""
    leave_ending_to_parent()
    share_relayed_output()
    os.nice(_NICENESS)
    return sys.stdin.buffer.readline()


def _size(model: mujoco.MjModel) -> int:
    return int(model.nq + 7 * model.nmocap)
