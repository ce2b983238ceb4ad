"""`runtime check`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runtime.options import RobotOptions


@dataclass(frozen=True)
class Check(RobotOptions):
    """Wiggle every joint of a robot slightly and compare order, sign, scale and latency with the model."""

    model: Path
    """The policy file whose contract the robot is held to; the policy itself does not run."""
    amplitude_rad: float = 0.03
    """How far each joint is moved."""
    latency_max_s: float = 0.1
    """Longest latency beyond the model's own lag that is not a finding."""
    joints: tuple[str, ...] = ()
    """Only these."""

    def run(self) -> int:
        """Exit status 1 when any joint answers in another way than the model."""
        from runtime.diagnostics.robot_check import check

        return check(
            self,
            policy=self.model,
            amplitude_rad=self.amplitude_rad,
            latency_max_s=self.latency_max_s,
            joints=self.joints,
        )
