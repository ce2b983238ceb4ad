"""`runtime doctor`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Doctor:
    """Check this machine: onnxruntime wheels, providers, telemetry, real-time permissions."""

    def run(self) -> int:
        """Exit status 1 when something is wrong."""
        from runtime.doctor import examine

        findings = examine()
        for finding in findings:
            print(f"{finding.level:<6} {finding.subject}: {finding.sentence}")
        return int(any(finding.level == "error" for finding in findings))
