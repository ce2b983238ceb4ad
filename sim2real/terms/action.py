"""Actions: what the policy's output in [-1, 1] makes the joints do."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from sim2real.frozen import Positive
from sim2real.terms.term import Term

if TYPE_CHECKING:
    from sim2real.contract import Contract
    from sim2real.terms.scene import Scene

Array = Any
"""A NumPy or JAX array; which one follows `xp`."""


class Action(Term):
    """How `[J]` numbers in [-1, 1] become joint position targets `[J]`. A contract states every field."""

    what: ClassVar[str] = "action"

    velocity_fraction: Annotated[float, Field(gt=0, le=1, exclude=True)] = 0.5
    """Largest target speed as a fraction of each joint's velocity limit; a contract states `step_max` instead."""
    step_max: tuple[Positive, ...] = ()
    """Largest change of each joint's target in one control step, `[J]`, rad or m."""
    interpolation: Literal["linear"] = "linear"
    """How the servo's target moves between two control steps."""
    measured: str = "joint_position"
    """Name of the reading of the joints' positions."""
    previous: str = "joint_position_target"
    """Name of the reading of the last targets."""

    def completed(self, scene: Scene) -> Self:
        """The same action with the largest steps of this robot."""
        steps = tuple(self.velocity_fraction * j.velocity_max * scene.control_dt_s for j in scene.robot.joints)
        return self.model_copy(update={"step_max": self.step_max or steps, "velocity_fraction": 0.5})

    @abstractmethod
    def wanted(self, xp: ModuleType, contract: Contract, action: Array, readings: Mapping[str, Array]) -> Array:
        """Targets `[..., J]` before any limit, from actions in [-1, 1]."""

    def command(self, xp: ModuleType, contract: Contract, action: Array, readings: Mapping[str, Array]) -> Array:
        """Targets `[..., J]`, never farther than `step_max` from the last ones and within the joints' limits."""
        low, high = (np.float32(bound) for bound in contract.command_limits)
        step, previous = np.array(self.step_max, np.float32), readings[self.previous]
        wanted = self.wanted(xp, contract, xp.clip(action, -1.0, 1.0), readings)
        wanted = xp.minimum(xp.maximum(wanted, previous - step), previous + step)
        return xp.minimum(xp.maximum(wanted, low), high)


class JointPositionIncrement(Action):
    """Each joint's target moves by up to `step_max`, and stays within `window` of the measured position, against
    wind-up when the arm is blocked.
    """

    kind: str = "joint_position_increment"
    window: Positive = 0.3
    """Largest distance between target and measured position, rad or m."""

    def wanted(self, xp: ModuleType, contract: Contract, action: Array, readings: Mapping[str, Array]) -> Array:
        """The last target and a step, within the window."""
        window, position = np.float32(self.window), readings[self.measured]
        wanted = readings[self.previous] + np.array(self.step_max, np.float32) * action
        return xp.minimum(xp.maximum(wanted, position - window), position + window)


class JointPositionAboutHome(Action):
    """Each joint's target is home plus up to `reach`: for legs, whose motion goes to and fro about a stance."""

    kind: str = "joint_position_about_home"
    reach: Positive | tuple[Positive, ...] = 0.5
    """Largest distance from home, rad or m, of all joints or `[J]`."""

    def wanted(self, xp: ModuleType, contract: Contract, action: Array, readings: Mapping[str, Array]) -> Array:
        """Home and a share of the reach."""
        home = np.array([joint.home_position for joint in contract.robot.joints], np.float32)
        return home + np.array(self.reach, np.float32) * action
