"""Damaged and hostile inputs for every parser that reads what others wrote: its own error is the only one allowed.

    python -m benchmarks.transport.fuzz --json benchmarks/results/fuzz.json       # 100,000 for each parser
    python -m benchmarks.transport.fuzz --quick
    python -m benchmarks.transport.fuzz --only recording --first 4711 --inputs 1   # one input again

An input passes when it gives a value or the parser's own error, in one sentence, within two seconds of processor time
and 256 MiB. An error of another kind, a warning, a crash of the interpreter, a length that is believed and a loop that
does not end are failures alike. An input follows from seed, parser and number. Exit status 1 when anything failed.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing.sharedctypes import Synchronized

import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.machine import machine
from benchmarks.transport.fuzzing.dds import DDS
from benchmarks.transport.fuzzing.files import FILES
from benchmarks.transport.fuzzing.network import NETWORK
from benchmarks.transport.fuzzing.parser import Outcome, run
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.errors import ShoalError
from sim2real.files import write_json

PARSERS = {parser.name: parser for parser in (*NETWORK, *DDS, *FILES)}
_QUICK = 2_000
_BLOCK = 2_000
"""Inputs for one process: what crashes takes no more than these with it."""
_BLOCK_CPU_S = 600
_ADDRESS_SPACE = 16 * 2**30
_reached: Synchronized[int]


@dataclass(frozen=True)
class Arguments:
    """Give damaged inputs to every parser."""

    inputs: int = 100_000
    """For each parser."""
    quick: bool = False
    """2,000 instead."""
    seed: int = 0
    first: int = 0
    """Number of the first input."""
    only: tuple[str, ...] = ()
    """Names of parsers; all if not given."""
    json: JsonFile | None = None
    """Write the outcomes here too."""


def outcome_of(name: str, *, seed: int, inputs: int, first: int = 0) -> Outcome:
    """All inputs, in processes of their own, of which one may crash or never end."""
    outcome, number, end = Outcome(name, seed), first, first + inputs
    context = multiprocessing.get_context("fork")
    while number < end:
        size, reached = min(_BLOCK, end - number), context.Value("q", number)
        with ProcessPoolExecutor(1, mp_context=context, initializer=_limit, initargs=(reached,)) as pool:
            try:
                outcome.add(pool.submit(_block, name, seed, size, number).result())
                number += size
            except BrokenProcessPool:
                outcome.inputs += reached.value + 1 - number
                outcome.escape(reached.value, "crash", "the process ended, or did not end")
                number = reached.value + 1
    return outcome


def _limit(reached: Synchronized[int]) -> None:
    global _reached
    _reached = reached
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CPU, (_BLOCK_CPU_S, _BLOCK_CPU_S))


def _block(name: str, seed: int, inputs: int, first: int) -> Outcome:
    def begin(number: int) -> None:
        _reached.value = number

    return run(PARSERS[name], seed=seed, inputs=inputs, first=first, begin=begin)


def table_of(outcomes: list[Outcome]) -> Table:
    """Table for the terminal."""
    table = Table("parser", "inputs", "a value", "its own error", "anything else", "slowest", "took")
    for one in outcomes:
        numbers = (one.inputs, one.accepted, one.refused, one.escaped)
        times = (f"{1e3 * one.slowest_s:.0f} ms", f"{one.duration_s:.0f} s")
        table.add_row(one.parser, *(f"{number:,}" for number in numbers), *times)
    return table


def main() -> None:
    """Fuzz, print the table, write JSON."""
    arguments = tyro.cli(Arguments, description=__doc__)
    unknown = set(arguments.only) - set(PARSERS)
    if unknown:
        raise ShoalError(f"--only: no parser {sorted(unknown)}; there are {', '.join(PARSERS)}.")
    inputs = _QUICK if arguments.quick else arguments.inputs
    print(f"seed {arguments.seed}, inputs {arguments.first} to {arguments.first + inputs - 1}")
    outcomes = []
    for name in arguments.only or PARSERS:
        outcomes.append(outcome_of(name, seed=arguments.seed, inputs=inputs, first=arguments.first))
        for example in outcomes[-1].examples:
            print(f"{name}: {example}", file=sys.stderr, flush=True)
        if arguments.json is not None:
            rows = [asdict(outcome) for outcome in outcomes]
            write_json(arguments.json, {"machine": machine(), "seed": arguments.seed, "parsers": rows})
    Console().print(table_of(outcomes))
    raise SystemExit(int(any(outcome.escaped for outcome in outcomes)))


if __name__ == "__main__":
    with command_line():
        main()
