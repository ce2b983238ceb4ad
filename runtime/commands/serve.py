"""`runtime serve`."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.options import ServeOptions


@dataclass(frozen=True)
class Serve(ServeOptions):
    """Drive a robot with a policy file and take goal poses from clients."""

    def run(self) -> int:
        """Exit status 0 after a clean end, whatever ended it."""
        from runtime.server.control_process import serve

        serve(self)
        return 0
