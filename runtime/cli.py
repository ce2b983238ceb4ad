"""The console script `runtime`.

Every command imports what it needs when it runs, so that `runtime goal` does not load MuJoCo and onnxruntime.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from runtime.options import ServeOptions
from sim2real.errors import ShoalError

_File = tyro.conf.Positional[Path]


@dataclass(frozen=True)
class Serve(ServeOptions):
    """Drive a robot with a policy file and take goal poses from clients."""

    def run(self) -> int:
        """Exit status 0 after a clean end, whatever ended it."""
        from runtime.server import serve

        serve(self)
        return 0


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


@dataclass(frozen=True)
class Status:
    """Show where a running server's robot and goal stand."""

    json: bool = False
    """As JSON."""
    address: str | None = None
    """Socket path, unix:///path or tcp://127.0.0.1:PORT."""

    def run(self) -> int:
        """Prints one line."""
        from runtime.client import Client

        with Client(self.address) as client:
            status = client.status()
        print(status.model_dump_json(indent=2) if self.json else status.line)
        return 0


@dataclass(frozen=True)
class Stop:
    """Make a running server hold position and end."""

    address: str | None = None
    """Socket path, unix:///path or tcp://127.0.0.1:PORT."""

    def run(self) -> int:
        """Silent on success."""
        from runtime.client import Client

        with Client(self.address) as client:
            client.stop()
        return 0


@dataclass(frozen=True)
class Inspect:
    """Show the contract and the certificate inside a policy file."""

    file: _File
    json: bool = False
    """As JSON."""

    def run(self) -> int:
        """Prints tables."""
        from runtime.report import print_json, print_tables

        (print_json if self.json else print_tables)(self.file)
        return 0


@dataclass(frozen=True)
class Verify:
    """Re-check a policy file on this machine: digests, graph, golden vectors, and the robot that ships with Shoal."""

    file: _File

    def run(self) -> int:
        """Exit status 2 when anything does not hold."""
        from runtime.report import verify

        for line in verify(self.file):
            print(line)
        return 0


@dataclass(frozen=True)
class Bench:
    """Time a tick on this machine, hot and paced."""

    file: _File
    samples: int = 2000
    rate_hz: float = 500.0
    """Of the paced ticks."""
    json: bool = False
    """As JSON."""

    def run(self) -> int:
        """Prints a table."""
        from runtime.report import print_bench

        print_bench(self.file, samples=self.samples, rate_hz=self.rate_hz, as_json=self.json)
        return 0


@dataclass(frozen=True)
class Replay:
    """Recompute the commands of a recording and compare them bit for bit."""

    file: _File
    """The MCAP file of runtime serve --record."""
    model: Path
    """The policy file that was served."""

    def run(self) -> int:
        """Exit status 1 when any command differs."""
        from runtime.recording.replay import replay

        result = replay(self.file, self.model)
        for line in result.first:
            print(line)
        lost = f", {result.lost} ticks are missing from the recording" if result.lost else ""
        if result.different:
            print(f"{result.different} of {result.ticks} commands differ, by {result.max_difference_rad:.1e} rad{lost}")
        else:
            print(f"all {result.ticks} commands are the same, bit for bit{lost}")
        return int(result.different > 0)


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


_Command = (
    Annotated[Serve, tyro.conf.subcommand("serve")]
    | Annotated[Goal, tyro.conf.subcommand("goal")]
    | Annotated[Status, tyro.conf.subcommand("status")]
    | Annotated[Stop, tyro.conf.subcommand("stop")]
    | Annotated[Inspect, tyro.conf.subcommand("inspect")]
    | Annotated[Verify, tyro.conf.subcommand("verify")]
    | Annotated[Bench, tyro.conf.subcommand("bench")]
    | Annotated[Replay, tyro.conf.subcommand("replay")]
    | Annotated[Doctor, tyro.conf.subcommand("doctor")]
)


def main(arguments: list[str] | None = None) -> None:
    """Console script; a `ShoalError` becomes one sentence on standard error and exit status 2."""
    command = tyro.cli(
        _Command,
        args=arguments,
        prog="runtime",
        description="Run policy files on robots.",
    )
    try:
        status = command.run()
    except ShoalError as error:
        print(f"error: {error}", file=sys.stderr)
        status = 2
    raise SystemExit(status)


if __name__ == "__main__":
    main()
