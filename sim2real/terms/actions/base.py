"""What all actions have in common: how a policy's output in [-1, 1] becomes what the drives are told.

    class Halfway(Action):
        kind: str = "my_robot.terms:Halfway"

        def wanted(self, xp, contract, action, readings):
            return 0.5 * (readings[self.measured] + action)

A drive is told a position, a velocity or an effort, which the contract states as the `mode` of its joint.

Shapes: `J` joints, `A` numbers of an action, mostly one for each joint. `xp` is the array namespace, `numpy` or
`jax.numpy`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from sim2real.errors import ShoalError
from sim2real.frozen import Positive
from sim2real.terms.term import Term

if TYPE_CHECKING:
    from sim2real.contract import Contract, Joint, Robot
    from sim2real.terms.reading import Reading
    from sim2real.terms.scene import Scene
    from sim2real.terms.sides import Mirrored

Array = Any
"""A NumPy or JAX array; which one follows `xp`."""
Mode = Literal["position", "velocity", "effort"]


class Action(Term):
    """How `[A]` numbers in [-1, 1] become commands `[J]`. A contract states every field."""

    what: ClassVar[str] = "action"
    mode: ClassVar[Mode] = "position"
    """What it tells drives."""

    velocity_fraction: Annotated[float, Field(gt=0, le=1, exclude=True)] = 0.5
    """Largest target speed as a fraction of each joint's velocity limit; a contract states `step_max` instead."""
    step_max: tuple[Positive, ...] = ()
    """Largest change of each joint's command in one control step, `[J]`, in the command's unit."""
    interpolation: Literal["linear"] = "linear"
    """How the command moves between two control steps."""
    measured: str = "joint_position"
    """Name of the reading of the joints' positions."""
    previous: str = "joint_position_target"
    """Name of the reading of the last command."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the readings that it is made of."""
        return self.measured, self.previous

    def misfits(self, readings: Mapping[str, Reading]) -> list[str]:
        """Which of the readings that it needs are not what it needs, in sentences."""
        return [
            f"{name!r} of kind {readings[name].kind!r} has no number for every joint; name a reading of kind {kind}"
            for name, kind in ((self.measured, "joint_position"), (self.previous, "joint_position_target"))
            if not readings[name].per_joint
        ]

    def size(self, robot: Robot) -> int:
        """A."""
        return len(robot.joints)

    def refusals(self, robot: Robot) -> list[str]:
        """Which drives cannot be told what it gives, in sentences."""
        return [_other_mode(joint, self) for joint in robot.joints if joint.mode != self.mode]

    def completed(self, scene: Scene) -> Self:
        """The same action with what follows from this robot, the largest steps at least."""
        steps = tuple(self._step(joint, scene.control_dt_s) for joint in scene.robot.joints)
        given = self.step_max or steps
        if len(given) != len(steps):
            raise ShoalError(f"action.step_max has {len(given)} entries for {len(steps)} joints; give one for each.")
        return self.model_copy(update={"step_max": given, "velocity_fraction": 0.5})

    def _step(self, joint: Joint, control_dt_s: float) -> float:
        """The largest step of one joint, where the task states none."""
        return self.velocity_fraction * joint.velocity_max * control_dt_s

    @abstractmethod
    def wanted(self, xp: ModuleType, contract: Contract, action: Array, readings: Mapping[str, Array]) -> Array:
        """Commands `[..., J]` before any limit, from actions in [-1, 1]."""

    def command(self, xp: ModuleType, contract: Contract, action: Array, readings: Mapping[str, Array]) -> Array:
        """Commands `[..., J]`, never farther than `step_max` from the last ones and within the joints' limits."""
        low, high = (np.float32(bound) for bound in contract.command_limits)
        step, previous = np.array(self.step_max, np.float32), readings[self.previous]
        wanted = self.wanted(xp, contract, xp.clip(action, -1.0, 1.0), readings)
        wanted = xp.minimum(xp.maximum(wanted, previous - step), previous + step)
        return xp.minimum(xp.maximum(wanted, low), high)

    def mirrored(self, contract: Contract, joints: Mirrored) -> Mirrored:
        """What becomes of an action `[A]` where left and right are exchanged, and with it what joints do `[J]`."""
        raise ShoalError(f"mirror: what becomes of actions of kind {self.kind!r} is not known; leave mirror out.")

    def towards(self, xp: ModuleType, contract: Contract, present: Array, posture: Array) -> Array | None:
        """The action `[..., A]` that moves joints from `present` `[..., J]` to a posture; None where it has no such."""
        return None

    def sample_previous(self, rng: np.random.Generator, contract: Contract, measured: np.ndarray) -> np.ndarray:
        """Last commands `[n, J]` that a policy could have given at joint positions `[n, J]`, to certify files with."""
        low, high = contract.command_limits
        ends = np.where(np.isfinite(low), low, -1.0), np.where(np.isfinite(high), high, 1.0)
        return rng.uniform(*ends, size=measured.shape)


def require_alike(kind: str, joints: Mirrored, **values: Any) -> None:
    """Refuse what is not the same for both of each pair of joints, `[J]` or one for all, by name."""
    for name, given in values.items():
        value = np.broadcast_to(np.asarray(given, np.float64), joints.order.shape)
        if not np.allclose(value[joints.order], value):
            raise ShoalError(
                f"mirror: action: {kind}.{name} is not alike on both sides; make it so, or leave mirror out."
            )


def require_home_alike(contract: Contract, joints: Mirrored) -> None:
    """Refuse a home whose sides are not alike."""
    home = contract.home_positions
    if not np.allclose(joints(home), home):
        raise ShoalError("mirror: home is not alike on both sides; make it so, or leave mirror out.")


def _other_mode(joint: Joint, action: Action) -> str:
    told = {"velocity": "velocities", "effort": "forces", "position": "positions"}
    if joint.declared_servo:
        return (
            f"the task declares a position servo for {joint.name!r} (robot.servo), in the place of what its MJCF has, "
            f"and the action {action.kind} gives {told[action.mode]}; leave the servo out (`servo: null` where it is "
            "inherited by `extends`), or choose another action"
        )
    cure = {
        "position": "declare `robot.servo` for it in the task (stiffness, damping, effort_max), make it a <position> "
        "actuator, or choose another action",
        "velocity": "make it a <velocity> actuator, or choose another action",
        "effort": "make it a <motor>, or choose another action",
    }[action.mode]
    return (
        f"the actuator of {joint.name!r} is told {told[joint.mode]}, and the action {action.kind} gives "
        f"{told[action.mode]}; {cure}"
    )
