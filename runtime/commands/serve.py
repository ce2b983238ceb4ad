"""`runtime serve`."""

from __future__ import annotations

import os
from dataclasses import dataclass

from runtime.options import ServeOptions


@dataclass(frozen=True)
class Serve(ServeOptions):
    """Drive a robot with a policy file and take goal poses from clients."""

    def run(self) -> int:
        """Exit status 0 after a clean end, whatever ended it."""
        # Nothing is drawn by OpenGL here, and to load it is a tenth of the start.
        os.environ.setdefault("MUJOCO_GL", "disable")
        from runtime.server.control_process import serve

        serve(self)
        return 0
