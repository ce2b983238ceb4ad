"""Rules about where the joints are sent. They correct a command; where they cannot, the target stays.

Worked out in `runtime.safety.limits` (position, velocity, acceleration), `runtime.safety.machine` (ramp-in) and
`runtime.safety.geometry` (workspace, self-collision).
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from runtime.goals.resolve import about_the_tool
from runtime.safety.rules.base import NO_GEOMETRY, Layer, Rule
from runtime.status import Reason
from sim2real.contract import Contract, Frozen, NonNegative, Positive, Vector3
from sim2real.errors import ShoalError

Share = Annotated[float, Field(gt=0, le=1)]


class TargetSettings(Frozen):
    """Settings of the rules about targets."""

    velocity_share: Share = 1.0
    """Of the contract's joint velocity limits, for the target."""
    acceleration_max_rad_s2: Positive | tuple[Positive, ...] | None = None
    """Of the target, for all joints or for each. If not given: the velocity limit from rest within one control
    period, which no policy needs more than; of drives that are told velocities, what the policy's own steps need."""
    position_margin_rad: NonNegative = 0.0
    """The target keeps this far inside the contract's joint limits."""
    ramp_in_s: NonNegative = 0.3
    """After any standstill the speed limit grows linearly over this time to the full one; 0 is off."""
    ramp_in_share: Share = 0.2
    """Of the speed limit, at the beginning of the ramp."""
    workspace_min_m: Vector3 | None = None
    """Box that the tool must not leave, world frame."""
    workspace_max_m: Vector3 | None = None
    workspace_margin_m: NonNegative | None = 0.3
    """Without a box: the contract's goal box, this much wider on every side. Not for policies that move an object:
    their goal box says where the object may be, and the tool goes around it and above."""
    self_collision_m: NonNegative | None = 0.005
    """Smallest distance between the robot's own links (those pairs that its MJCF lets collide)."""

    @model_validator(mode="after")
    def _whole_box(self) -> Self:
        low, high = self.workspace_min_m, self.workspace_max_m
        if (low is None) != (high is None):
            raise ValueError("workspace_min_m and workspace_max_m belong together; give both or neither")
        if low is not None and high is not None:
            for axis, least, most in zip("xyz", low, high, strict=True):
                if not least < most:
                    raise ValueError(f"workspace_min_m {axis}={least:g} must be below workspace_max_m {axis}={most:g}")
        return self

    def workspace(self, contract: Contract) -> tuple[Vector3, Vector3] | None:
        """Lower and upper corner of the tool's box, m; None when the rule is off."""
        if self.workspace_min_m is not None and self.workspace_max_m is not None:
            return self.workspace_min_m, self.workspace_max_m
        if self.workspace_margin_m is None or not about_the_tool(contract):
            return None
        return box_around_goals(contract, self.workspace_margin_m)

    def speeds_rad_s(self, contract: Contract) -> tuple[float, ...]:
        """Velocity limit of each joint's target, `[J]`."""
        return tuple(self.velocity_share * joint.velocity_max for joint in contract.robot.joints)

    def accelerations_rad_s2(self, contract: Contract) -> tuple[float, ...]:
        """Limit of each joint's target, `[J]`; `ShoalError` when their number is not the contract's."""
        given, joints = self.acceleration_max_rad_s2, contract.robot.joints
        if given is None:
            period, steps = contract.timing.control_dt_s, contract.action.step_max
            rows = zip(joints, self.speeds_rad_s(contract), steps, strict=True)
            return tuple((step if joint.mode == "velocity" else speed) / period for joint, speed, step in rows)
        if isinstance(given, float):
            return (given,) * len(joints)
        if len(given) != len(joints):
            raise ShoalError(
                f"safety: acceleration_max_rad_s2 has {len(given)} values for {len(joints)} joints; give one for each, "
                f"in the order {list(contract.joint_names)}."
            )
        return given


def box_around_goals(contract: Contract, margin_m: float) -> tuple[Vector3, Vector3]:
    """Lower and upper corner, m, of the contract's goal box made wider by `margin_m` on every side."""
    box = contract.goal.box()
    assert box is not None
    low, high = box
    return (
        (low[0] - margin_m, low[1] - margin_m, low[2] - margin_m),
        (high[0] + margin_m, high[1] + margin_m, high[2] + margin_m),
    )


class Position(Rule):
    """The target's joint limits."""

    name = "position"
    bounds = "the target, inside the contract's joint limits by `position_margin_rad`"
    fields = ("position_margin_rad",)

    @classmethod
    def numbers(cls, layer: Layer) -> str:
        """See `Rule`."""
        return f"{layer.config.position_margin_rad:g} rad inside the contract's limits"


class Velocity(Rule):
    """Speed of the target."""

    name = "velocity"
    bounds = "the target's speed, `velocity_share` of the contract's limits"
    fields = ("velocity_share",)

    @classmethod
    def numbers(cls, layer: Layer) -> str:
        """See `Rule`."""
        return _range(layer.config.speeds_rad_s(layer.contract), "rad/s")


class Acceleration(Rule):
    """Change of the target's speed."""

    name = "acceleration"
    bounds = "the change of the target's speed, for all joints or for each; unset, the whole speed within one period"
    fields = ("acceleration_max_rad_s2",)

    @classmethod
    def applies(cls, contract: Contract) -> bool:
        """Where any drive is told positions or velocities; what an effort does to a joint's speed nobody knows."""
        return any(joint.mode != "effort" for joint in contract.robot.joints)

    @classmethod
    def off(cls, layer: Layer) -> str:
        """See `Rule`."""
        return ""

    @classmethod
    def numbers(cls, layer: Layer) -> str:
        """See `Rule`."""
        return _range(layer.config.accelerations_rad_s2(layer.contract), "rad/s2")


class RampIn(Rule):
    """No start at full speed."""

    name = "ramp-in"
    bounds = "the target's speed after a standstill, from `ramp_in_share` of its limit on"
    fields = ("ramp_in_s", "ramp_in_share")

    @classmethod
    def off(cls, layer: Layer) -> str:
        """See `Rule`."""
        return "" if layer.config.ramp_in_s else "ramp_in_s is not set"

    @classmethod
    def numbers(cls, layer: Layer) -> str:
        """See `Rule`."""
        return f"{layer.config.ramp_in_s:g} s"


class Workspace(Rule):
    """The tool's box."""

    name = "workspace"
    bounds = (
        "the tool, in the box `workspace_min_m` to `workspace_max_m`; without one, in the goal box made wider by "
        "`workspace_margin_m`; off for policies that move an object, whose goal box says nothing about the tool, until "
        "you give a box"
    )
    fields = ("workspace_margin_m", "workspace_min_m", "workspace_max_m")
    reasons = (Reason.TOOL_OUTSIDE,)

    @classmethod
    def off(cls, layer: Layer) -> str:
        """See `Rule`."""
        if layer.config.workspace(layer.contract) is not None:
            return NO_GEOMETRY if layer.geometry_checker is None else ""
        if layer.config.workspace_margin_m is not None and not about_the_tool(layer.contract):
            return "goals are not places of the tool; set workspace_min_m and workspace_max_m"
        return "workspace_margin_m is not set"

    @classmethod
    def numbers(cls, layer: Layer) -> str:
        """See `Rule`."""
        box = layer.config.workspace(layer.contract)
        assert box is not None
        low, high = ("(" + ", ".join(f"{value:.4g}" for value in corner) + ")" for corner in box)
        return f"{low} to {high} m"


class SelfCollision(Rule):
    """Room between the robot's own links."""

    name = "self-collision"
    bounds = "the distance between links"
    fields = ("self_collision_m",)
    reasons = (Reason.SELF_COLLISION,)

    @classmethod
    def off(cls, layer: Layer) -> str:
        """See `Rule`."""
        if unset := super().off(layer):
            return unset
        if layer.geometry_checker is None:
            return NO_GEOMETRY
        return "" if layer.geometry_checker.pairs else "the MJCF lets no two links of the robot collide"

    @classmethod
    def numbers(cls, layer: Layer) -> str:
        """See `Rule`."""
        distance, checker = layer.config.self_collision_m, layer.geometry_checker
        assert distance is not None
        assert checker is not None
        return f"{1e3 * distance:g} mm, {len(checker.pairs)} pairs of geoms, {checker.first_look}"


def _range(values: tuple[float, ...], unit: str) -> str:
    numbers = sorted({float(f"{value:.4g}") for value in values})
    return f"{numbers[0]:g} {unit}" if len(numbers) == 1 else f"{numbers[0]:g} to {numbers[-1]:g} {unit}"


RULES: tuple[type[Rule], ...] = (Position, Velocity, Acceleration, RampIn, Workspace, SelfCollision)
