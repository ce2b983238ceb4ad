"""Which actuator of a compiled model moves which joint: the one lookup that training, serving and analysis share."""

from __future__ import annotations

import mujoco
import numpy as np

_ON_JOINT = (int(mujoco.mjtTrn.mjTRN_JOINT), int(mujoco.mjtTrn.mjTRN_JOINTINPARENT))


def joint_actuators(model: mujoco.MjModel, joint: int) -> list[int]:
    """Ids of the actuators that act on a joint directly.

    Not by `actuator_trnid` alone, which counts in tendons, sites or bodies where the transmission is one: a gripper's
    tendon may have the id of a joint.
    """
    found = np.isin(model.actuator_trntype, _ON_JOINT) & (model.actuator_trnid[:, 0] == joint)
    return [int(i) for i in np.flatnonzero(found)]
