"""`runtime ros2`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Ros2:
    """Bridge a running server to ROS 2 topics over DDS; needs no ROS installation, respects ROS_DOMAIN_ID."""

    address: str | None = None
    """The server: socket path, unix:///path or tcp://127.0.0.1:PORT."""
    namespace: str = ""
    """Before every topic's name."""
    frame: str | None = None
    """What ROS calls the policy's goal frame (fr3_link0, say); the contract's own name if not given."""
    rate_hz: float = 50.0
    """How often joint states are looked for; each control tick is published once."""
    max_age_s: float = 1.0
    """Goals with an older stamp are refused; 0 takes any, as for a simulated ROS clock."""
    goal_timeout_s: float | None = None
    """Goals expire after this time; the robot then holds."""
    network: bool = False
    """Let other machines take part. Without this, only the loopback interface is used."""

    def run(self) -> int:
        """Exit status 0 after SIGTERM or SIGINT."""
        from sim2real.errors import ShoalError

        try:
            from runtime.ros2.bridge import run
        except ImportError as error:
            raise ShoalError(f"ros2 needs the cyclonedds package: pip install 'shoal[ros2]' ({error}).") from error
        run(self)
        return 0
