"""How much of the forward dynamics a contract's terms need after every control step."""

from __future__ import annotations

from typing import get_args

from sim2real.contract import Contract
from sim2real.terms import Stage


def needed_stage(contract: Contract) -> Stage:
    """The last stage that any reading or termination asks for."""
    stages: tuple[Stage, ...] = get_args(Stage)
    wanted = [term.stage for term in (*contract.readings, *contract.terminations)]
    return max(wanted, key=stages.index, default="position")
