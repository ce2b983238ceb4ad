"""`runtime ros2`."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.options import Ros2Options


@dataclass(frozen=True)
class Ros2(Ros2Options):
    """Bridge a running server to ROS 2 topics over DDS; needs no ROS installation, respects ROS_DOMAIN_ID."""

    def run(self) -> int:
        """Exit status 0 after a signal that asks for the end."""
        from sim2real.errors import ShoalError

        try:
            from runtime.ros2.bridge import run
        except ImportError as error:
            raise ShoalError(f"ros2 needs the cyclonedds package: pip install 'shoal[ros2]' ({error}).") from error
        run(self)
        return 0
