"""Equalities that tie bodies together (`<connect>`, `<weld>`): they close chains of joints, and postures may tear them.

A posture is put together joint by joint. Where a chain is closed that tears the loop, and physics would begin by
snapping it shut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import mujoco
import numpy as np

_TYPES = (int(mujoco.mjtEq.mjEQ_CONNECT), int(mujoco.mjtEq.mjEQ_WELD))
_TORN = 0.01
"""m, or rad of a weld's rotation, by which an equality may be off: models close their loops no more exactly."""
_MOVED, _OPEN = 1e-6, 5.0
"""m per rad or m that an equality changes at least where it moves, and times what it is off by already."""


@dataclass(frozen=True)
class Ties:
    """The active ties of a model, as equalities."""

    ids: tuple[int, ...]

    @classmethod
    def of(cls, model: mujoco.MjModel) -> Self:
        """Those that hold from the beginning."""
        active = np.isin(model.eq_type, _TYPES) & (model.eq_active0 != 0)
        return cls(tuple(np.flatnonzero(active).tolist()))

    def torn(self, model: mujoco.MjModel, qpos: np.ndarray, data: mujoco.MjData) -> list[int]:
        """Which are torn at `qpos` `[nq]`; `data` is for working in."""
        if not self.ids:
            return []
        data.qpos[:] = qpos
        mujoco.mj_fwdPosition(model, data)
        rows = _rows(data) & (np.abs(data.efc_pos) > _TORN)
        return sorted(set(data.efc_id[rows].tolist()) & set(self.ids))

    def moved_by(self, model: mujoco.MjModel, qpos: np.ndarray, dofs: np.ndarray) -> list[int]:
        """Which change where one of these degrees of freedom moves alone, from a `qpos` `[nq]` at which they hold: the
        loops that it is in.

        What carries a whole loop along moves nothing in it; but by as much as the loop is open already.
        """
        if not self.ids:
            return []
        data = mujoco.MjData(model)
        data.qpos[:] = qpos
        mujoco.mj_fwdPosition(model, data)
        found = set[int]()
        speed, change = np.zeros(model.nv), np.zeros(data.nefc)
        for dof in dofs:
            speed[:] = 0
            speed[dof] = 1
            mujoco.mj_mulJacVec(model, data, change, speed)
            for tie in self.ids:
                rows = _rows(data) & (data.efc_id == tie)
                opened = np.abs(data.efc_pos[rows]).max(initial=0.0)
                if np.abs(change[rows]).max(initial=0.0) > _MOVED + _OPEN * opened:
                    found.add(tie)
        return sorted(found)


def _rows(data: mujoco.MjData) -> np.ndarray:
    """Which rows of the constraints are those of equalities, `[nefc]`."""
    return np.asarray(data.efc_type == int(mujoco.mjtConstraint.mjCNSTR_EQUALITY))


def tie_name(model: mujoco.MjModel, tie: int) -> str:
    """What it ties, in words."""
    kind = "connect" if model.eq_type[tie] == _TYPES[0] else "weld"
    by_site = model.eq_objtype[tie] == mujoco.mjtObj.mjOBJ_SITE
    named = (
        model.site(int(end)).name if by_site else model.body(int(end)).name
        for end in (model.eq_obj1id[tie], model.eq_obj2id[tie])
    )
    first, second = (repr(name) if name else "something without a name" for name in named)
    return f"<{kind}> of {first} and {second}"
