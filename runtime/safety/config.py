"""The settings of the safety layer, as a typed model: `runtime serve --safety safety.yaml`.

What the contract already says (limits, control period, goal box) is not repeated here; every field either tightens
it or decides how a fault is answered. A rule whose field is None is off, and says so at start.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from sim2real.contract import Contract, Frozen, NonNegative, Positive, Vector3
from sim2real.errors import ShoalError
from sim2real.files import read_model

Share = Annotated[float, Field(gt=0, le=1)]


class SafetyConfig(Frozen):
    """How the safety layer bounds the commands and answers faults. Frozen, finite, without unknown fields."""

    velocity_share: Share = 1.0
    """Of the contract's joint velocity limits, for the target."""
    acceleration_max_rad_s2: Positive | tuple[Positive, ...] | None = None
    """Of the target, for all joints or for each. If not given: the velocity limit from rest within one control
    period, which no policy needs more than."""
    position_margin_rad: NonNegative = 0.0
    """The target keeps this far inside the contract's joint limits."""
    ramp_in_s: NonNegative = 0.3
    """After any standstill the speed limit grows linearly over this time to the full one; 0 is off."""
    ramp_in_share: Share = 0.2
    """Of the speed limit, at the beginning of the ramp."""

    stale_after_periods: Positive = 3.0
    """Control periods after which readings are too old."""
    object_stale_s: Positive = 0.5
    """After this time without a report of a tracker nobody knows where the object is."""
    frozen_after_periods: Annotated[int, Field(ge=2)] | None = 5
    """Fresh stamps with bit for bit the same joint readings for this many control periods, while the target moved by
    `frozen_travel_rad` or more, are not believed."""
    frozen_travel_rad: Positive = 0.05
    out_of_range_rad: NonNegative = 0.1
    """How far outside its limits a joint may be measured before the encoder is not believed."""
    clock_jump_s: Positive | None = 1.0
    """A larger step of the driver's clock between two ticks costs a tick of hold and a ramp-in; so does any backward
    one."""
    effort_share: Positive | None = 1.0
    """Of the contract's effort limits; beyond it for `effort_for_s` the arm yields."""
    effort_for_s: NonNegative = 0.1
    tracking_max_rad: Positive | None = 0.5
    """Largest distance between target and measured joint; beyond it the arm is blocked, and yields."""
    overruns_in_a_row: Annotated[int, Field(ge=1)] | None = 10
    """Ticks in a row that end after the next deadline until the robot holds."""

    workspace_min_m: Vector3 | None = None
    """Box that the tool must not leave, world frame."""
    workspace_max_m: Vector3 | None = None
    workspace_margin_m: NonNegative | None = 0.3
    """Without a box: the contract's goal box, this much wider on every side. Not for policies that move an object:
    their goal box says where the object may be, and the tool goes around it and above."""
    self_collision_m: NonNegative | None = 0.005
    """Smallest distance between the robot's own links (those pairs that its MJCF lets collide)."""

    hold_to_damp_s: NonNegative | None = 2.0
    """A fault of readings or policy that lasts longer than this makes the arm yield."""
    damp_to_estop_s: NonNegative | None = None
    """Yielding for longer than this becomes an emergency stop."""
    damp_time_s: Positive = 0.1
    """Time constant with which the target approaches the measured joints in `damp` and `estop`."""
    damp_speed_share: Share = 0.25
    """Of the velocity limits, while it does."""
    damp_for_s: NonNegative = 0.5
    """The arm yields at least this long."""

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

    def with_stale_after(self, periods: float | None) -> SafetyConfig:
        """A copy with another `stale_after_periods`, unless that is None; `ShoalError` when it is not positive."""
        if periods is None:
            return self
        if not periods > 0:
            raise ShoalError(f"--stale-after-periods must be positive, got {periods:g}.")
        return self.model_copy(update={"stale_after_periods": periods})

    def workspace(self, contract: Contract) -> tuple[Vector3, Vector3] | None:
        """Lower and upper corner of the tool's box, m; None when the rule is off."""
        if self.workspace_min_m is not None and self.workspace_max_m is not None:
            return self.workspace_min_m, self.workspace_max_m
        if self.workspace_margin_m is None or contract.tracked is not None:
            return None
        return box_around_goals(contract, self.workspace_margin_m)

    def accelerations_rad_s2(self, contract: Contract) -> tuple[float, ...]:
        """Limit of each joint's target, `[J]`; `ShoalError` when their number is not the contract's."""
        given, joints = self.acceleration_max_rad_s2, contract.robot.joints
        if given is None:
            period = contract.timing.control_dt_s
            return tuple(self.velocity_share * joint.velocity_max / period for joint in joints)
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
    low, high = contract.goal.position_min_m, contract.goal.position_max_m
    return (
        (low[0] - margin_m, low[1] - margin_m, low[2] - margin_m),
        (high[0] + margin_m, high[1] + margin_m, high[2] + margin_m),
    )


def load_safety(path: Path) -> SafetyConfig:
    """Settings from a YAML file: a mapping with the fields of `SafetyConfig`; raises `ShoalError`."""
    return read_model(SafetyConfig, path, what="--safety", may_be_empty=True)
