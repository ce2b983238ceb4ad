"""Bytes from outside: whatever they are, each parser gives a value or its own error; the benchmark tries more."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.transport import fuzz
from benchmarks.transport.fuzzing import parser as parsers
from benchmarks.transport.fuzzing.parser import Parse, Parser, run
from sim2real.errors import ShoalError

SEED = 1
"""Not the benchmark's."""
INPUTS = 1500
SLOW = {"policy file": 400, "safety settings": 800, "list of goals": 800}
"""Fewer of those that take milliseconds each."""


@pytest.mark.parametrize("name", fuzz.PARSERS)
def test_whatever_the_bytes_a_parser_gives_a_value_or_its_own_error(name: str) -> None:
    outcome = run(fuzz.PARSERS[name], seed=SEED, inputs=SLOW.get(name, INPUTS))
    assert outcome.escaped == 0, outcome.examples
    assert outcome.inputs == outcome.accepted + outcome.refused


@pytest.mark.parametrize("name", fuzz.PARSERS)
def test_inputs_follow_from_seed_and_number_and_differ(name: str) -> None:
    parser = fuzz.PARSERS[name]
    inputs = [parser.input(SEED, number) for number in range(60)]
    assert inputs == [parser.input(SEED, number) for number in range(60)]
    assert len(set(inputs)) > 40
    assert parser.input(SEED + 1, 0) != inputs[0] or parser.input(SEED + 1, 1) != inputs[1]


def _faulty(read: Parse) -> Parser:
    @contextmanager
    def ready() -> Iterator[Parse]:
        yield read

    return Parser("faulty", lambda damage: damage.content(b"{}"), ready)


def _refuse(content: bytes) -> None:
    raise ShoalError("it is not what it should be.")


def _fail(content: bytes) -> None:
    raise KeyError("x")


def _warn(content: bytes) -> None:
    warnings.warn("overflow", RuntimeWarning, stacklevel=1)


def _talk(content: bytes) -> None:
    raise ShoalError("x" * 3000)


def _take(content: bytes) -> bytearray:
    return bytearray(os.urandom(1)) * (32 * 2**20)


def _dawdle(content: bytes) -> None:
    until = time.process_time() + 0.02
    while time.process_time() < until:
        pass


@pytest.mark.parametrize(
    ("read", "kind"),
    [(_fail, "KeyError in test_fuzz.py, _fail"), (_warn, "RuntimeWarning in test_fuzz.py, _warn"), (_talk, "sentence")],
)
def test_what_is_not_allowed_is_counted_and_named(read: Parse, kind: str) -> None:
    outcome = run(_faulty(read), seed=SEED, inputs=3, first=7)
    assert outcome.kinds == {kind: 3}
    assert outcome.examples[0].startswith("input 7: ")
    assert run(_faulty(_refuse), seed=SEED, inputs=3).refused == 3


def test_time_and_memory_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsers, "SLOWEST_S", 0.01)
    assert run(_faulty(_dawdle), seed=SEED, inputs=2).kinds == {"time": 2}
    monkeypatch.setattr(parsers, "_peak_bytes", iter([0, 300 * 2**20, 300 * 2**20, 300 * 2**20]).__next__)
    assert run(_faulty(_take), seed=SEED, inputs=2).kinds["memory"] == 1


def test_a_crash_takes_one_input_with_it_and_the_rest_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(content: bytes) -> None:
        if int.from_bytes(content, "big") == 3:
            os._exit(3)

    @contextmanager
    def ready() -> Iterator[Parse]:
        yield crash

    counted = Parser("counted", lambda damage: b"", ready)
    monkeypatch.setattr(Parser, "input", lambda self, seed, number: bytes([number]))
    monkeypatch.setitem(fuzz.PARSERS, "counted", counted)
    monkeypatch.setattr(fuzz, "_BLOCK", 4)
    outcome = fuzz.outcome_of("counted", seed=SEED, inputs=9)
    assert (outcome.inputs, outcome.kinds) == (9, {"crash": 1})
    assert outcome.examples == ["input 3: the process ended, or did not end"]
