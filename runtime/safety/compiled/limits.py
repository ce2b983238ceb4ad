"""`runtime.safety.limits.Limits` with its hot part in C."""

from __future__ import annotations

import ctypes
from functools import partial

import numpy as np
from numpy.typing import NDArray

from runtime.native.build import Unsupported
from runtime.robot.readings import Float64
from runtime.safety.compiled.clearance import FirstLook
from runtime.safety.compiled.library import LONGEST_PATH, MOST_JOINTS, load
from runtime.safety.limits import Limits

_JOINT = np.dtype([(name, "f8") for name in ("low", "high", "step", "change", "brake")])
_MOTION = np.dtype(
    [("joints", "i8")] + [(name, "u8") for name in ("limits", "wanted", "target", "last", "proposed", "steps")]
)
_CHECKED_STEPS = 300
_CHECKED_JOINTS = 3


class CompiledLimits(Limits):
    """See `Limits`. Raises `Unsupported` with the reason."""

    def __init__(self, low: Float64, high: Float64, step: Float64, step_change: Float64) -> None:
        super().__init__(low, high, step, step_change)
        if len(low) > MOST_JOINTS:
            raise Unsupported(f"the robot has more than {MOST_JOINTS} joints")
        library = load()
        self._wanted = np.zeros(len(low))
        self._table = np.array(self._rows, _JOINT)
        self._motion = np.zeros((), _MOTION)
        self._motion["joints"] = len(low)
        arrays = (self._table, self._wanted, self.target, self._last, self._proposed, self._steps)
        for name, array in zip(_MOTION.names[1:], arrays, strict=True):  # type: ignore[index]
            self._motion[name] = array.ctypes.data
        address = ctypes.c_void_p(self._motion.ctypes.data)
        self._propose = partial(library.shoal_propose, address)
        self._path = partial(library.shoal_path, address)

    def propose(self, command: NDArray[np.floating], share: float, look: FirstLook | None = None) -> int:
        """See `Limits.propose`; with a `look`, the step may be `TAKEN`."""
        self._wanted[:] = command
        found: int = self._propose(share, None if look is None else look.address)
        return found

    def path_in_c(self) -> list[list[float]]:
        """As `path`, for the comparison with it; empty when it is too long for a look."""
        joints = len(self._wanted)
        postures = np.zeros((LONGEST_PATH, joints))
        count = self._path(ctypes.c_void_p(postures.ctypes.data))
        path: list[list[float]] = postures[:count].tolist()
        return path


def require_agreement() -> None:
    """Drive both kinds to random commands, from postures inside limits and outside; raises `Unsupported` when a bit of
    a target or of a path differs.
    """
    rng = np.random.default_rng(0)
    low, high = np.full(_CHECKED_JOINTS, -1.0), np.full(_CHECKED_JOINTS, 0.8)
    step, change = np.array([0.09, 0.02, 0.3]), np.array([0.01, 0.03, 0.007])
    model, fast = Limits(low, high, step, change), CompiledLimits(low, high, step, change)
    for number in range(_CHECKED_STEPS):
        if number % 50 == 0:
            start = rng.uniform(-1.2, 1.0, _CHECKED_JOINTS)
            model.start(start)
            fast.start(start)
        command = model.target + rng.normal(0, 0.5, _CHECKED_JOINTS) * rng.integers(0, 2, _CHECKED_JOINTS)
        share = float(rng.choice([1.0, rng.uniform(0.1, 1.0)]))
        if model.propose(command, share) != fast.propose(command, share) or not _same_paths(model, fast):
            raise Unsupported("it moves a target otherwise than Python does")
        model.accept()
        fast.accept()
        if model.target.tobytes() != fast.target.tobytes():
            raise Unsupported("it moves a target otherwise than Python does")


def _same_paths(model: Limits, fast: CompiledLimits) -> bool:
    path = model.path()
    return fast.path_in_c() == (path if len(path) <= LONGEST_PATH else [])
