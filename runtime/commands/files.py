"""Look at policies and recordings: `runtime inspect`, `verify`, `bench`, `replay`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from runtime.options import Engine
from sim2real.errors import ShoalError


@dataclass(frozen=True)
class Inspect:
    """Show what is inside a policy file: contract, certificate and evaluation. Or write a model card of it."""

    file: tyro.conf.Positional[Path]
    json: bool = False
    """As JSON."""
    card: Path | None = None
    """Write a model card here instead: OUT.md with a picture beside it, or OUT.html."""
    stress: Path | None = None
    """With --card: the JSON of sim2real stress for this policy, for what it bears."""

    def run(self) -> int:
        """Prints tables, or writes a card."""
        if self.card is not None:
            from runtime.diagnostics.card.write import write_card
            from runtime.inference.policy import Policy

            write_card(Policy(self.file), self.card, stress=self.stress)
            print(f"written: {self.card}")
            return 0
        if self.stress is not None:
            raise ShoalError("--stress is for a model card; add --card OUT.md or OUT.html.")
        from runtime.diagnostics.policy_report import print_json, print_tables

        (print_json if self.json else print_tables)(self.file)
        return 0


@dataclass(frozen=True)
class Verify:
    """Re-check a policy file on this machine: digests, graph, golden vectors, and the robot's MJCF."""

    file: tyro.conf.Positional[Path]
    mjcf: Path | None = None
    """The robot's MJCF, where it does not ship with Shoal."""

    def run(self) -> int:
        """Exit status 2 when anything does not hold."""
        from runtime.diagnostics.policy_report import verify

        for line in verify(self.file, self.mjcf):
            print(line)
        return 0


@dataclass(frozen=True)
class Bench:
    """Time a tick on this machine, hot and paced, or with --loop how punctual the control loop is."""

    file: tyro.conf.Positional[Path]
    engine: Engine = "auto"
    """What computes the policy; see serve."""
    samples: int = 2000
    rate_hz: float = 500.0
    """Of the paced ticks."""
    loop: float | None = None
    """Run the loop at this rate, Hz, beside one that only sleeps, and count late and missed ticks."""
    load: bool = False
    """With --loop: once more while a process on every core takes all that it can get."""
    ticks: int = 4000
    """With --loop: of each run."""
    json: bool = False
    """As JSON."""

    def run(self) -> int:
        """Prints a table."""
        from runtime.diagnostics.bench_report import print_bench, print_loop_bench

        if self.loop is None:
            print_bench(self.file, samples=self.samples, rate_hz=self.rate_hz, engine=self.engine, as_json=self.json)
        else:
            load = (False, True) if self.load else (False,)
            print_loop_bench(
                self.file, rate_hz=self.loop, ticks=self.ticks, load=load, engine=self.engine, as_json=self.json
            )
        return 0


@dataclass(frozen=True)
class Replay:
    """Recompute the commands of a recording and compare them bit for bit."""

    file: tyro.conf.Positional[Path]
    """The MCAP file of runtime serve --record."""
    model: Path
    """The policy file that was served."""
    mjcf: Path | None = None
    """The MJCF that was served, of a robot that does not ship."""

    def run(self) -> int:
        """Exit status 1 when any command differs, 2 when there is nothing to compare."""
        from runtime.recording.replay import replay
        from sim2real.errors import printable

        result = replay(self.file, self.model, self.mjcf)
        for line in result.first:
            print(printable(line))
        if result.note:
            print(f"note: {printable(result.note)}")
        if result.lost:
            unknown = result.ticks - result.compared
            print(f"note: {result.lost} ticks are missing from the recording, before {unknown} that are not compared.")
        if result.different:
            print(f"{result.different} of {result.compared} commands differ, by {result.max_difference_rad:.1e} rad")
        else:
            print(f"all {result.compared} commands are the same, bit for bit")
        return int(result.different > 0)
