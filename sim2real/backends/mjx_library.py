"""MJX, imported without what it prints to standard output where Warp is not installed, which nobody here asked for; and
a physics step that is C MuJoCo's where MJX's own is not.
"""

from __future__ import annotations

import contextlib
import io
from typing import Any

import mujoco

with contextlib.redirect_stdout(io.StringIO()) as _said:
    from mujoco import mjx

for _line in _said.getvalue().splitlines():
    if not _line.startswith("Failed to import"):
        print(_line)

__all__ = ["mjx", "step"]


def step(model: Any, data: Any) -> Any:
    """Advance one environment by one physics step.

    The integrator `implicitfast` takes into account how forces change with velocity. A servo at its `forcerange` gives
    the same force at any velocity, and C MuJoCo knows that; MJX 3.17 damps it all the same, which takes a third of the
    acceleration of light wheels. So servos at their limit are integrated without their damping here.
    """
    if model.opt.integrator != mujoco.mjtIntegrator.mjINT_IMPLICITFAST or not model.actuator_forcelimited.any():
        return mjx.step(model, data)
    from mujoco.mjx._src.forward import implicit  # which mjx.step calls behind mjx.forward

    data = mjx.forward(model, data)
    low, high = model.actuator_forcerange[:, 0], model.actuator_forcerange[:, 1]
    at_limit = (data.actuator_force <= low) | (data.actuator_force >= high)
    damped = model.actuator_biasprm[:, 2] * ~(at_limit & model.actuator_forcelimited)
    return implicit(model.replace(actuator_biasprm=model.actuator_biasprm.at[:, 2].set(damped)), data)
