"""A simulated robot that does not say where its object is, as no real one does, but writes it into a file for a test's
own tracker.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from runtime.drivers.mujoco import MujocoDriver
from runtime.robot.readings import Readings

WHERE = "SHOAL_TEST_OBJECT"
"""Environment variable with the file's path."""


class BlindDriver(MujocoDriver):
    """See `runtime.drivers.base.Driver`."""

    def read(self, out: Readings) -> None:
        """Everything but the object."""
        before = out.object_position.copy()
        super().read(out)
        if WHERE in os.environ:
            path = Path(os.environ[WHERE])
            path.with_suffix(".new").write_text(" ".join(str(value) for value in out.object_position.tolist()))
            path.with_suffix(".new").rename(path)
        np.copyto(out.object_position, before)
