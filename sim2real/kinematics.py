"""Where a contract's joints and tool are inside a compiled model's arrays."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any, Self

import mujoco
import numpy as np

from sim2real.contract import Contract


def quaternion_product(xp: ModuleType, left: Any, right: Any) -> Any:
    """Hamilton product of wxyz quaternions, `[..., 4]` each."""
    a, b, c, d = (left[..., i] for i in range(4))
    e, f, g, h = (right[..., i] for i in range(4))
    return xp.stack(
        [
            a * e - b * f - c * g - d * h,
            a * f + b * e + c * h - d * g,
            a * g - b * h + c * e + d * f,
            a * h + b * g - c * f + d * e,
        ],
        axis=-1,
    )


@dataclass(frozen=True)
class Addresses:
    """Indices into a model's arrays, in policy order."""

    qpos: np.ndarray
    """`[J]`, into qpos."""
    dof: np.ndarray
    """`[J]`, into qvel."""
    actuator: np.ndarray
    """`[J]`, into ctrl."""
    site: int
    """The tool's site."""
    body: int
    """The body that carries the tool's site."""
    site_quaternion: np.ndarray
    """`[4]` wxyz, the site's orientation in its body."""

    @classmethod
    def of(cls, model: mujoco.MjModel, contract: Contract) -> Self:
        """Look the contract's names up in `model`."""
        joints = [model.joint(name) for name in contract.joint_names]
        actuator_of = {int(model.actuator_trnid[i, 0]): i for i in range(model.nu)}
        site = model.site(contract.robot.end_effector_frame).id
        return cls(
            qpos=np.array([joint.qposadr[0] for joint in joints]),
            dof=np.array([joint.dofadr[0] for joint in joints]),
            actuator=np.array([actuator_of[joint.id] for joint in joints]),
            site=site,
            body=int(model.site_bodyid[site]),
            site_quaternion=np.array(model.site_quat[site]),
        )

    def tool_orientation(self, xp: ModuleType, xquat: Any) -> Any:
        """Tool orientation, wxyz, from body orientations `[..., nbody, 4]`."""
        return quaternion_product(xp, xquat[..., self.body, :], self.site_quaternion)
