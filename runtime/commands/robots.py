"""Try a robot and this machine before a policy drives: `runtime check`, `play`, `doctor`."""

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


@dataclass(frozen=True)
class Doctor:
    """Check this machine: onnxruntime wheels, providers, telemetry, and which real-time measures it permits."""

    sleeps: int = 300
    """How often to sleep and wake with each real-time measure; 0 measures nothing."""

    def run(self) -> int:
        """Exit status 1 when something is wrong."""
        from runtime.diagnostics.doctor import examine

        findings = examine()
        for finding in findings:
            print(f"{finding.level:<6} {finding.subject}: {finding.sentence}")
        if self.sleeps > 0:
            self._measure()
        return int(any(finding.level == "error" for finding in findings))

    def _measure(self) -> None:
        from runtime.realtime.wakeup_latency import measure_noise, measure_wakeups

        print("waking from a sleep of 1 ms is late by, in us:")
        for name, late in measure_wakeups(self.sleeps):
            print(f"  p50 {late['p50_us']:5.0f}  p99 {late['p99_us']:6.0f}  max {late['max_us']:6.0f}  with {name}")
        print(f"  {measure_noise(0.5).line}")
        print("for a whole loop under load: runtime bench FILE --loop 1000 --load")
