"""Which contacts count: geom pairs that touch at home are how the robot is built, or how it stands, and say nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import mujoco
import numpy as np


@dataclass(frozen=True)
class HomeContacts:
    """The geom pairs that touch where the whole model stands at home."""

    pairs: frozenset[tuple[int, int]]
    """Geom ids, the smaller one first."""

    @classmethod
    def of(cls, model: mujoco.MjModel, qpos: np.ndarray) -> Self:
        """Contacts at `qpos` `[nq]`."""
        data = mujoco.MjData(model)
        data.qpos[:] = qpos
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_collision(model, data)
        return cls(frozenset(contact_pairs(data)))

    def others(self, data: mujoco.MjData) -> set[tuple[int, int]]:
        """The pairs that touch in `data`, after `mj_collision`, and not at home."""
        return contact_pairs(data) - self.pairs

    def names(self, model: mujoco.MjModel) -> list[str]:
        """The names of what touches, sorted."""
        return sorted(pair_name(model, pair) for pair in self.pairs)


def contact_pairs(data: mujoco.MjData) -> set[tuple[int, int]]:
    """Geom pairs of all contacts that touch, after `mj_collision`; not those that a margin only foresees."""
    touching = data.contact.dist < 0 if data.ncon else np.zeros(0, bool)
    return {(int(min(pair)), int(max(pair))) for pair in data.contact.geom[touching]}


def pair_name(model: mujoco.MjModel, pair: tuple[int, int]) -> str:
    """Both geoms by name, or by their body's where they have none."""
    return " and ".join(geom_name(model, geom) for geom in pair)


def geom_name(model: mujoco.MjModel, geom: int) -> str:
    """A geom's name, or "geom of" its body."""
    name, body = model.geom(geom).name, model.body(int(model.geom_bodyid[geom])).name
    return name or f"a geom of {body or 'an unnamed body'}"
