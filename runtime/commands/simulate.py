"""`runtime simulate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Simulate:
    """Simulate a policy's robot in this process, for runtime serve --robot wire --host ADDRESS in another."""

    model: Path
    """The policy file: its contract says which robot."""
    address: str = "127.0.0.1:7400"
    """HOST:PORT of the loopback interface, or the path of a Unix socket."""
    mjcf: Path | None = None
    """Simulate this MJCF instead of the one that ships with Shoal; it must compile to the contract's digest."""
    speed: float = 1.0
    """Simulated seconds per second."""

    def run(self) -> int:
        """Exit status 0 after a signal that asks for the end."""
        from runtime.drivers.wire_simulation import simulate

        simulate(self.model, self.address, mjcf=self.mjcf, speed=self.speed)
        return 0
