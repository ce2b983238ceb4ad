"""Settings whose best value depends on what goals are about. Where they come from is in docs/teacher.md."""

from __future__ import annotations

from pydantic import BaseModel

from sim2real.contract import Contract
from sim2real.terms import Settings


def settings_for(contract: Contract, *configs: BaseModel) -> Settings:
    """What was set in any of `configs`, and for the rest what the contract's goal says is best."""
    given = {name: value for config in configs for name, value in config if name in Settings._fields}
    defaults: Settings = contract.goal.settings()
    return defaults._replace(**{name: value for name, value in given.items() if value is not None})
