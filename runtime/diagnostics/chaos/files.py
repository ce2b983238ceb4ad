"""Faults of files and disks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from runtime.control.loop import Loop
from runtime.control.telemetry import Telemetry
from runtime.diagnostics.chaos.rig import FOLLOWS, NoExchange, Rig
from runtime.diagnostics.chaos.scenario import Scenario
from runtime.inference.policy import Policy
from runtime.ipc.telemetry_ring import Ring
from sim2real.errors import ShoalError


def file_scenarios() -> Iterator[Scenario]:
    """Scenarios of files, in this process."""
    yield Scenario(
        "disk full",
        "the disk fills up while recording",
        "the recording ends and says so; the robot goes on",
        FOLLOWS,
        run=_disk_full,
    )
    yield Scenario(
        "wrong model file",
        "the policy file is overwritten, cut off or altered while it is served",
        "the loaded policy goes on; the file is refused at the next start",
        FOLLOWS,
        run=_model_swapped,
    )


def _disk_full(rig: Rig) -> None:
    from runtime.recording.writer import Recorder

    full = Path("/dev/full")
    if not full.exists():
        rig.problems.append("this system has no /dev/full to stand for a full disk")
        return
    ring = Ring.create(rig.contract)
    rig.loop = Loop(rig.driver, rig.core, NoExchange(), telemetry=Telemetry(ring, rig.core))
    recorder = Recorder(full, rig.contract, {})
    for _ in range(20):
        rig.tick(20)
        rig.move()
        recorder.write(ring.drain())
    recorder.close()
    ring.close()
    rig.require(recorder.failed, "the full disk was not noticed")
    rig.tick(5)


def _model_swapped(rig: Rig) -> None:
    original = rig.core.policy.path.read_bytes()
    altered = bytearray(original)
    middle = slice(len(altered) // 2, len(altered) // 2 + 4096)
    altered[middle] = bytes(byte ^ 0xFF for byte in altered[middle])
    with TemporaryDirectory(prefix="shoal-") as folder:
        path = Path(folder) / "student.onnx"
        path.write_bytes(original)
        served = Rig(Policy(path), config=rig.core.safety.config, mjcf=rig.mjcf)
        served.move()
        served.tick(10)
        for content in (b"", b"something else", original[: len(original) // 2], bytes(altered)):
            path.write_bytes(content)
            served.tick(5)
            try:
                Policy(path)
            except ShoalError:
                continue
            rig.problems.append(f"a file of {len(content)} bytes, not the one exported, was accepted")
    rig.require(served.state in FOLLOWS, "the loaded policy did not go on")
    rig.problems += served.witness.problems
    rig.tick(5)
