"""Left and right of a robot: which joint, site and body is whose counterpart in the mirror, the plane y = 0 at home.

Shapes: `J` joints, in policy order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sim2real.errors import ShoalError

if TYPE_CHECKING:
    import mujoco

    from sim2real.terms.scene import Scene

Array = Any
"""A NumPy or JAX array."""
SIDEWAYS = (1.0, -1.0, 1.0)
"""Signs of a place or a direction in the mirror."""
ABOUT = (-1.0, 1.0, -1.0)
"""Signs of what turns there: an axis, an angular velocity."""
_NEAR = 1e-6


class Mirrored(NamedTuple):
    """What becomes of a vector in the mirror: each number is one of the vector, or the negative of one."""

    order: np.ndarray
    sign: np.ndarray

    @classmethod
    def signed(cls, sign: Sequence[float]) -> Mirrored:
        """Numbers that stay in their places."""
        return cls(np.arange(len(sign)), np.array(sign, np.float32))

    @classmethod
    def joined(cls, parts: Iterable[tuple[int, Mirrored]]) -> Mirrored:
        """Of a vector whose parts come from others that start at these places."""
        orders, signs = zip(*((start + part.order, part.sign) for start, part in parts), strict=True)
        return cls(np.concatenate(orders), np.concatenate(signs))

    def __call__(self, vector: Array) -> Array:
        """`[..., n]`."""
        return vector[..., self.order] * self.sign


@dataclass(frozen=True)
class Sides:
    """Counterparts."""

    joints: Mirrored
    """Of what joints do, `[J]`."""
    places: dict[str, str]
    """Names of sites and bodies; those in the middle are their own."""

    @classmethod
    def of(cls, scene: Scene) -> Sides:
        """`ShoalError` that names all joints without a counterpart."""
        import mujoco

        if scene.addresses.has_tendons:
            raise ShoalError("mirror: which tendon is whose counterpart cannot be told; leave mirror out.")
        data = mujoco.MjData(scene.model)
        data.qpos[:] = scene.home
        mujoco.mj_forward(scene.model, data)
        return cls(_joints(scene, data), _places(scene.model, data))

    def place(self, name: str, *, field: str) -> str:
        """The counterpart of a site or body."""
        if name not in self.places:
            raise ShoalError(f"mirror: {field}: at home, {name!r} has no counterpart across y = 0; leave mirror out.")
        return self.places[name]


def _joints(scene: Scene, data: mujoco.MjData) -> Mirrored:
    import mujoco

    model, names = scene.model, [joint.name for joint in scene.robot.joints]
    joints = model.dof_jntid[scene.addresses.dof]
    anchors, axes, slides = (
        data.xanchor[joints],
        data.xaxis[joints],
        model.jnt_type[joints] == mujoco.mjtJoint.mjJNT_SLIDE,
    )
    bodies = model.jnt_bodyid[joints]
    centres, masses = data.xipos[bodies], np.column_stack([model.body_mass[bodies], model.body_inertia[bodies]])
    order, sign, alone = [], [], []
    for index, name in enumerate(names):
        along = axes @ (axes[index] * (SIDEWAYS if slides[index] else ABOUT))
        alike = np.linalg.norm(anchors - anchors[index] * SIDEWAYS, axis=-1) < _NEAR
        alike &= (np.abs(along) > 1 - _NEAR) & (slides == slides[index])
        alike &= np.linalg.norm(centres - centres[index] * SIDEWAYS, axis=-1) < _NEAR
        alike &= np.isclose(masses, masses[index]).all(axis=-1)
        if alike.sum() == 1:
            order.append(int(np.argmax(alike)))
            sign.append(np.sign(along[order[-1]]))
        else:
            alone.append(name)
    if alone:
        raise ShoalError(
            f"mirror: at home, {', '.join(alone)} have no counterpart of the same axis, mass and inertia across y = 0; "
            "leave mirror out, or mend the MJCF."
        )
    return Mirrored(np.array(order), np.array(sign, np.float32))


def _places(model: mujoco.MjModel, data: mujoco.MjData) -> dict[str, str]:
    found: dict[str, str] = {}
    for count, named, points, turns in (
        (model.nbody, model.body, data.xpos, data.xmat),
        (model.nsite, model.site, data.site_xpos, data.site_xmat),
    ):
        turned = turns.reshape(-1, 3, 3)
        for index in range(count):
            near = np.linalg.norm(points - points[index] * SIDEWAYS, axis=-1) < _NEAR
            near &= np.abs(turned - turned[index] * np.outer(SIDEWAYS, SIDEWAYS)).max(axis=(1, 2)) < _NEAR
            if near.any():
                found[named(index).name] = named(index if near[index] else int(np.argmax(near))).name
    return found
