"""The contract: what must be the same in simulation and on the robot, in one versioned model."""

from sim2real.contract.schema import (
    PER_POLICY,
    SCHEMA_VERSION,
    Calibration,
    Contract,
    Lineage,
    Timing,
    differences,
    plain_digest,
    require_same_interface,
)
from sim2real.frozen import Frozen, NonNegative, Positive, Quaternion, Vector3
from sim2real.robots.robot import Held, HeldServo, Joint, Robot, Standing
from sim2real.terms import Action, Goal, Reading

__all__ = [
    "PER_POLICY",
    "SCHEMA_VERSION",
    "Action",
    "Calibration",
    "Contract",
    "Frozen",
    "Goal",
    "Held",
    "HeldServo",
    "Joint",
    "Lineage",
    "NonNegative",
    "Positive",
    "Quaternion",
    "Reading",
    "Robot",
    "Standing",
    "Timing",
    "Vector3",
    "differences",
    "plain_digest",
    "require_same_interface",
]
