"""Settings whose best value depends on what goals are about. Where they come from is in docs/teacher.md."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import BaseModel

from sim2real.contract import Contract


class GoalSettings(NamedTuple):
    """See the fields of the same names in `teacher.config`."""

    gamma: float
    action_penalty: float
    posture_weight: float
    moving_goal_share: float
    wander_share: float


_TOOL_POSITION = GoalSettings(0.9, 0.2, 0.1, 0.0, 0.0)
_TOOL_POSE = GoalSettings(0.9, 0.0, 0.05, 0.0, 0.0)
_OBJECT_POSITION = GoalSettings(0.97, 0.05, 0.05, 0.75, 0.5)


def settings_for(contract: Contract, *configs: BaseModel) -> GoalSettings:
    """What was set in any of `configs`, and for the rest the defaults of this contract's kind of goal."""
    defaults = _TOOL_POSE if contract.goal.space == "pose" else _TOOL_POSITION
    if contract.goal.object_body is not None:
        defaults = _OBJECT_POSITION
    given = {name: value for config in configs for name, value in config if name in GoalSettings._fields}
    return defaults._replace(**{name: value for name, value in given.items() if value is not None})
