"""Servos for joints whose MJCF has none that a contract can state: guessed from inertia and weight, then simulated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import mujoco
import numpy as np

from sim2real.new_task.inspection import Mover

_BANDWIDTH_RAD_S = 25.0
_SAG = 0.02
"""rad or m, the most that a guessed servo gives way under the robot's own weight."""
_STABLE = 0.35
"""Share of one physics step that the servo's own time constant must last at least."""
_SPARE = 3.0
"""Times the weight that a guessed effort limit can lift."""


@dataclass(frozen=True)
class Load:
    """What a drive has to move, the worst of some postures; SI units of the joint."""

    inertia: float
    """With everything else held still."""
    least_inertia: float
    """With everything else free to give way."""
    weight: float
    """Largest effort that only holds it."""


@dataclass(frozen=True)
class GuessedServo:
    """Gains and limit of a declared servo."""

    stiffness: float
    damping: float
    effort_max: float

    def stiffer(self) -> GuessedServo:
        """A servo with 1.7 times the stiffness, as well damped, and 1.5 times the effort."""
        return GuessedServo(
            rounded(1.7 * self.stiffness), rounded(math.sqrt(1.7) * self.damping), rounded(1.5 * self.effort_max)
        )

    def softer(self) -> GuessedServo:
        """A servo with half the stiffness, as well damped."""
        return replace(self, stiffness=rounded(0.5 * self.stiffness), damping=rounded(math.sqrt(0.5) * self.damping))


def loads(model: mujoco.MjModel, movers: Sequence[Mover], postures: np.ndarray) -> list[Load]:
    """Loads of each mover over postures `[P, nq]`."""
    data, found = mujoco.MjData(model), np.zeros((len(postures), len(movers), 3))
    unit, column = np.zeros(model.nv), np.zeros(model.nv)
    for index, qpos in enumerate(postures):
        data.qpos[:] = qpos
        mujoco.mj_forward(model, data)
        weight = data.qfrc_bias - data.qfrc_passive
        for place, mover in enumerate(movers):
            dof = int(model.jnt_dofadr[mover.joints[0]])
            unit[:] = 0
            unit[dof] = 1
            mujoco.mj_mulM(model, data, column, unit)
            whole = float(column[dof])
            mujoco.mj_solveM(model, data, column[None], unit[None])
            found[index, place] = whole, 1 / max(float(column[dof]), 1e-9), abs(float(weight[dof]))
    return [
        Load(float(row[:, 0].max()), float(row[:, 1].min()), float(row[:, 2].max())) for row in found.swapaxes(0, 1)
    ]


def guess(load: Load, *, effort_max: float, passive_damping: float, step_s: float) -> GuessedServo:
    """A critically damped servo that is fast, holds the weight, and that the physics step can simulate.

    Args:
        load: what it moves.
        effort_max: what is known of its limit; infinite where nothing is.
        passive_damping: that the joint has already.
        step_s: of physics.
    """
    fastest = _STABLE * load.least_inertia / (load.inertia * step_s)
    stiffness = load.inertia * min(_BANDWIDTH_RAD_S, fastest) ** 2
    stiffness = max(stiffness, load.weight / _SAG)
    damping = max(2 * math.sqrt(stiffness * load.inertia) - passive_damping, 0.1 * math.sqrt(stiffness * load.inertia))
    limit = effort_max if math.isfinite(effort_max) else max(_SPARE * load.weight, 0.2 * stiffness, 1e-3)
    return GuessedServo(rounded(stiffness), rounded(damping), rounded(limit, up=not math.isfinite(effort_max)))


def rounded(value: float, *, up: bool = True) -> float:
    """Two significant digits, or with `up` false the value itself, for numbers that somebody stated."""
    if not up or value == 0:
        return float(f"{value:.6g}")
    return float(f"{value:.2g}")
