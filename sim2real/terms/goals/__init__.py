"""Goals: values that named readings are to reach. Every kind of goal is one class."""

from sim2real.terms.goals.base import Goal, Part, Settings
from sim2real.terms.goals.bases import BasePose, MapPosition, PlanarAnnulus, PlanarPose, PlanarPosition
from sim2real.terms.goals.joints import JointConfiguration, Together
from sim2real.terms.goals.places import ObjectPose, ObjectPosition, ToolPose, ToolPosition

__all__ = [
    "BasePose",
    "Goal",
    "JointConfiguration",
    "MapPosition",
    "ObjectPose",
    "ObjectPosition",
    "Part",
    "PlanarAnnulus",
    "PlanarPose",
    "PlanarPosition",
    "Settings",
    "Together",
    "ToolPose",
    "ToolPosition",
]
