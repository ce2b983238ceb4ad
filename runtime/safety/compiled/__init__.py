"""Rules of the safety layer in C, where that gives the same result as in Python in a tenth of the time.

Nothing here decides anything that Python would decide otherwise: `limits` and `watch` are compared with their models in
`runtime.safety` before they are used, bit for bit, and `clearance` only says which paths need no second look. Without a
C compiler the models themselves are at work.
"""

from __future__ import annotations

from typing import NamedTuple

from runtime.native.build import Unsupported
from runtime.robot.readings import Float64
from runtime.safety.compiled import limits, watch
from runtime.safety.config import SafetyConfig
from runtime.safety.limits import Limits
from runtime.safety.watch import ReadingWatch
from sim2real.contract import Contract


class Rules(NamedTuple):
    """What `runtime.safety.Safety` asks in every tick."""

    limits: Limits
    watch: ReadingWatch
    engine: str
    """What they run on, in words."""


def make_rules(
    contract: Contract, config: SafetyConfig, low: Float64, high: Float64, step: Float64, step_change: Float64
) -> Rules:
    """In C where that can be had, else in Python; the last four are those of `Limits`."""
    try:
        rules = Rules(
            limits.CompiledLimits(low, high, step, step_change),
            watch.CompiledWatch(contract, config),
            "C, bit for bit as in Python",
        )
        _compare_once(contract, config)
    except Unsupported as reason:
        return Rules(Limits(low, high, step, step_change), ReadingWatch(contract, config), f"Python ({reason})")
    return rules


_compared: set[str] = set()


def _compare_once(contract: Contract, config: SafetyConfig) -> None:
    """In each process."""
    if not _compared:
        limits.require_agreement()
        watch.require_agreement(contract, config)
        _compared.add("agree")
