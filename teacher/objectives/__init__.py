"""What a critic learns from hindsight, and what it then tells the actor: one module for each objective.

An objective is a class of `base.Objective` and a line in the table below. Networks, replay, actor, loop, resume,
student and export ask that class and know none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from sim2real.contract import Contract
    from teacher.config import LearnerConfig, NetworkConfig
    from teacher.objectives.base import Objective

ObjectiveName = Literal["infonce", "survival", "chrono"]
_CLASSES: dict[ObjectiveName, str] = {
    "infonce": "teacher.objectives.infonce:InfoNCE",
    "survival": "teacher.objectives.survival:Survival",
    "chrono": "teacher.objectives.chrono:Chrono",
}


def make_objective(contract: Contract, network: NetworkConfig, config: LearnerConfig) -> Objective:
    """The objective that `config.objective` names."""
    module, name = _CLASSES[config.objective].split(":")
    made: Objective = getattr(import_module(module), name)(contract, network, config)
    return made
