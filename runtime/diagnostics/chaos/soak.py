"""Hours of every path in minutes: simulated time as fast as it goes, with goals, faults, stops, messages, recording and
restarts all along; memory and handles must stay flat.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from runtime.control.loop import Loop
from runtime.control.telemetry import Telemetry
from runtime.diagnostics.chaos.readings import garbage, last_before, overwritten
from runtime.diagnostics.chaos.rig import NoExchange, Rig
from runtime.diagnostics.chaos.scenario import Subject
from runtime.ipc.telemetry_ring import Ring
from runtime.protocol.messages import parse_request
from runtime.recording.writer import Recorder
from sim2real.errors import ShoalError

_ROUND_TICKS = 200
_REST_TICKS = 60
_GROWTH_ALLOWED_MIB = 8.0
_WARM_UP_SHARE = 0.2
"""Of the rounds, after which the baseline is taken: pools and caches have filled by then."""


@dataclass(frozen=True)
class SoakReport:
    """What a soak found."""

    simulated_h: float
    wall_s: float
    ticks: int
    memory_mib: tuple[float, float]
    """Resident, after the warm-up and at the end."""
    blocks: tuple[int, int]
    """Allocated by Python, likewise."""
    handles: tuple[int, int]
    """Open descriptors, likewise."""
    problems: tuple[str, ...]
    """Of the commands."""

    @property
    def passed(self) -> bool:
        """Flat, and no command beyond its bounds."""
        grown = self.memory_mib[1] - self.memory_mib[0]
        return not self.problems and grown < _GROWTH_ALLOWED_MIB and self.handles[1] <= self.handles[0]

    @property
    def line(self) -> str:
        """The result in a line of text."""
        verdict = "flat" if self.passed else "; ".join(("NOT FLAT", *self.problems))
        return (
            f"{self.simulated_h:.2f} h simulated in {self.wall_s:.0f} s, {self.ticks} ticks: "
            f"memory {self.memory_mib[0]:.1f} to {self.memory_mib[1]:.1f} MiB, "
            f"{self.blocks[0]} to {self.blocks[1]} blocks of Python's, "
            f"{self.handles[0]} to {self.handles[1]} handles: {verdict}"
        )


def soak(subject: Subject, hours: float, *, on_round: Callable[[float], None] | None = None) -> SoakReport:
    """Simulate so many hours; `on_round` is told the share that is done."""
    if not hours > 0:
        raise ShoalError(f"--soak-hours must be positive, got {hours:g}.")
    policy = subject.policy
    period_s = policy.contract.timing.control_dt_s
    rounds = max(5, round(3600 * hours / (period_s * (_ROUND_TICKS + 2 * _REST_TICKS))))
    rig = Rig(policy, config=subject.safety, mjcf=subject.mjcf)
    started, baseline = time.monotonic(), (0.0, 0, 0)
    for number in range(rounds):
        _round(rig, number)
        if number + 1 == max(2, round(_WARM_UP_SHARE * rounds)):
            baseline = _measure()
        if on_round is not None:
            on_round((number + 1) / rounds)
    end = _measure()
    ticks = rig.core.safety.ticks
    return SoakReport(
        simulated_h=ticks * period_s / 3600,
        wall_s=time.monotonic() - started,
        ticks=ticks,
        memory_mib=(baseline[0], end[0]),
        blocks=(baseline[1], end[1]),
        handles=(baseline[2], end[2]),
        problems=(*rig.problems, *rig.witness.problems),
    )


def _round(rig: Rig, number: int) -> None:
    """Goals, one fault, an emergency stop, messages, and in every fourth round a recording of it all."""
    faults = (last_before, garbage, overwritten("joint_velocity", np.nan), overwritten("joint_effort", 1e4))
    ring = Ring.create(rig.contract)
    rig.loop = Loop(rig.driver, rig.core, NoExchange(), telemetry=Telemetry(ring, rig.core))
    rig.move()
    rig.tick(_ROUND_TICKS // 2)
    with rig.fault(faults[number % len(faults)](rig)):
        rig.tick(_REST_TICKS)
    rig.move()
    rig.tick(_ROUND_TICKS // 2)
    rig.core.estop()
    rig.tick(_REST_TICKS)
    rig.core.release()
    rig.core.on_event = None
    if number % 4 == 0:
        with TemporaryDirectory(prefix="shoal-") as folder:
            recorder = Recorder(Path(folder) / "soak.mcap", rig.contract, rig.core.safety.facts)
            recorder.write(ring.drain())
            recorder.close()
    ring.close()
    _messages(number)


def _messages(number: int) -> None:
    rng = np.random.default_rng(number)
    for _ in range(20):
        try:
            parse_request(rng.bytes(int(rng.integers(1, 200))))
        except ShoalError:
            continue


def _measure() -> tuple[float, int, int]:
    gc.collect()
    return _resident_mib(), sys.getallocatedblocks(), _open_descriptors()


def _resident_mib() -> float:
    """Resident memory of this process; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _open_descriptors() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())
