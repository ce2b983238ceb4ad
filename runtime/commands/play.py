"""`runtime play`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runtime.options import RobotOptions


@dataclass(frozen=True)
class Play(RobotOptions):
    """Play a trajectory of joint targets on a robot, and record it: what identification wants to see."""

    trajectory: Path
    """CSV of sim2real excite: time_s, then one column of targets in rad for each joint, by name."""
    model: Path
    """A policy file for this robot, for its contract; the policy itself does not run."""
    record: Path
    """MCAP file for sim2real identify, gap and latency."""

    def run(self) -> int:
        """Exit status 0 when it went to the end."""
        from runtime.diagnostics.trajectory_player import play

        return play(self, policy=self.model, trajectory_csv=self.trajectory, record=self.record)
