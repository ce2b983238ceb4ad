"""`runtime goal`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """Send a goal pose to a running server."""

    position: tuple[float, float, float]
    """m, in the policy's goal frame."""
    orientation: tuple[float, float, float, float] | None = None
    """Quaternion w x y z."""
    rpy: tuple[float, float, float] | None = None
    """Roll, pitch and yaw in rad, instead of --orientation."""
    position_tolerance_m: float | None = None
    """When it counts as reached; the contract's coarse tolerance if not given."""
    angle_tolerance_deg: float | None = None
    timeout_s: float | None = None
    """The robot holds position after this time."""
    wait: bool = False
    """Return when the goal is reached; exit status 1 when it is not."""
    wait_s: float = 30.0
    """Longest wait."""
    address: str | None = None
    """Socket path, unix:///path or tcp://127.0.0.1:PORT."""

    def run(self) -> int:
        """Prints the status after the goal was taken, or after the wait."""
        from runtime.client import Client
        from runtime.goals import parse_goal

        given = {
            "position": self.position,
            "orientation_wxyz": self.orientation,
            "rpy": self.rpy,
            "position_tolerance_m": self.position_tolerance_m,
            "angle_tolerance_deg": self.angle_tolerance_deg,
            "timeout_s": self.timeout_s,
        }
        with Client(self.address) as client:
            status = client.send_goal(parse_goal({name: value for name, value in given.items() if value is not None}))
            if self.wait:
                status = client.wait_until_reached(self.wait_s)
        print(status.line)
        return 1 if self.wait and not status.reached else 0
