"""`runtime doctor`."""

from __future__ import annotations

from dataclasses import dataclass


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
