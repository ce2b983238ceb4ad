"""Actions: what the policy's output in [-1, 1] makes the joints do. Every kind is one class."""

from sim2real.terms.actions.base import Action
from sim2real.terms.actions.gait import Harmonic, JointPositionAboutGait
from sim2real.terms.actions.groups import Group, Groups
from sim2real.terms.actions.joints import (
    Gripper,
    JointEffortAction,
    JointPositionAboutHome,
    JointPositionIncrement,
    JointVelocityAction,
)
from sim2real.terms.actions.tool import ToolIncrement

__all__ = [
    "Action",
    "Gripper",
    "Group",
    "Groups",
    "Harmonic",
    "JointEffortAction",
    "JointPositionAboutGait",
    "JointPositionAboutHome",
    "JointPositionIncrement",
    "JointVelocityAction",
    "ToolIncrement",
]
