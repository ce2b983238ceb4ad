"""One parser under test, and what became of its inputs."""

from __future__ import annotations

import random
import resource
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.transport.fuzzing.damage import Damage
from sim2real.errors import ShoalError

SLOWEST_S = 2.0
"""Processor time that an input may take; valid ones take milliseconds."""
LARGEST_BYTES = 256 * 2**20
"""Memory that an input may take."""
LONGEST_SENTENCE = 2000
_SHOWN = 8

Parse = Callable[[bytes], object]


@dataclass(frozen=True)
class Parser:
    """What reads bytes of others, and where the inputs come from."""

    name: str
    damage: Callable[[Damage], bytes]
    """The next damaged input."""
    ready: Callable[[], AbstractContextManager[Parse]]
    """Gives the function that reads one input; files and sockets are open meanwhile."""
    errors: tuple[type[Exception], ...] = (ShoalError,)
    """The parser's own."""

    def input(self, seed: int, number: int) -> bytes:
        """Input of a number."""
        return self.damage(Damage(random.Random(f"{seed}/{self.name}/{number}")))


@dataclass
class Outcome:
    """What one parser made of its inputs."""

    parser: str
    seed: int
    inputs: int = 0
    accepted: int = 0
    """Inputs that gave a value: not every change is damage."""
    refused: int = 0
    """Inputs that gave the parser's own error."""
    escaped: int = 0
    """Inputs that gave anything else: another error, a warning, too long a sentence, too much time or memory."""
    slowest_s: float = 0.0
    """Processor time of the slowest input."""
    duration_s: float = 0.0
    kinds: dict[str, int] = field(default_factory=dict)
    """What escaped, and how often."""
    examples: list[str] = field(default_factory=list)
    """The first of each kind, with the number of its input."""

    def escape(self, number: int, kind: str, detail: str) -> None:
        """Note a failure."""
        self.escaped += 1
        if kind not in self.kinds and len(self.examples) < _SHOWN:
            self.examples.append(f"input {number}: {detail}")
        self.kinds[kind] = self.kinds.get(kind, 0) + 1

    def add(self, later: Outcome) -> None:
        """Take over what another run of the same parser found."""
        for name in ("inputs", "accepted", "refused", "escaped", "duration_s"):
            setattr(self, name, getattr(self, name) + getattr(later, name))
        self.slowest_s = max(self.slowest_s, later.slowest_s)
        for kind, count in later.kinds.items():
            self.kinds[kind] = self.kinds.get(kind, 0) + count
        self.examples = [*self.examples, *later.examples][:_SHOWN]


def run(parser: Parser, *, seed: int, inputs: int, first: int = 0, begin: Callable[[int], object] = id) -> Outcome:
    """Give a parser its inputs `first` to `first + inputs - 1`, in this process; `begin` is told each number."""
    outcome, started = Outcome(parser.name, seed), time.perf_counter()
    with parser.ready() as parse, warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(first, first + inputs):
            begin(number)
            _give(outcome, parser, parse, number)
    outcome.duration_s = time.perf_counter() - started
    return outcome


def _give(outcome: Outcome, parser: Parser, parse: Parse, number: int) -> None:
    content = parser.input(outcome.seed, number)
    memory, began_s = _peak_bytes(), time.process_time()
    outcome.inputs += 1
    try:
        parse(content)
        outcome.accepted += 1
    except parser.errors as error:
        outcome.refused += 1
        if not 0 < len(str(error)) <= LONGEST_SENTENCE:
            outcome.escape(number, "sentence", f"a sentence of {len(str(error))} characters")
    except Exception as error:  # whatever it is, it is what is looked for
        where = traceback.extract_tb(error.__traceback__)[-1]
        kind = f"{type(error).__name__} in {Path(where.filename).name}, {where.name}"
        outcome.escape(number, kind, f"{kind}: {str(error)[:200]}")
    took_s = time.process_time() - began_s
    outcome.slowest_s = max(outcome.slowest_s, took_s)
    if took_s > SLOWEST_S:
        outcome.escape(number, "time", f"{took_s:.1f} s for {len(content)} bytes")
    if (grown := _peak_bytes() - memory) > LARGEST_BYTES:
        outcome.escape(number, "memory", f"{grown / 2**20:.0f} MiB for {len(content)} bytes")


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
