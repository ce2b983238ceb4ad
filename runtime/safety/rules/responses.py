"""Rules about late and early ticks and about faults that last.

Worked out in `runtime.control.loop` and `runtime.safety.machine`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from runtime.safety.rules.balance import Upright
from runtime.safety.rules.base import Layer, Rule
from runtime.safety.rules.targets import Share
from runtime.status import Reason
from sim2real.contract import Contract, Frozen, NonNegative, Positive


class ResponseSettings(Frozen):
    """Settings of the responses to late ticks and lasting faults, and of what `damp` does."""

    overruns_in_a_row: Annotated[int, Field(ge=1)] | None = 10
    """Ticks in a row that end after the next deadline until the robot holds."""
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
    stand_speed_share: Share | None = None
    """Of the velocity limits, at which a robot that is idle, held or stopped goes to its home posture. Unset, it stays
    where it is; but legs that stop in the middle of a stride carry nobody."""


class Overruns(Rule):
    """The loop keeps its rhythm."""

    name = "overruns"
    bounds = "how many ticks in a row may end late"
    fields = ("overruns_in_a_row",)
    reasons = (Reason.OVERRUNS,)


class EarlyTicks(Rule):
    """Ticks come no sooner than the driver's clock goes on; see `runtime.realtime.cadence`."""

    name = "early ticks"
    bounds = "how soon a tick may follow the one before, by the driver's clock: 0.9 control periods on average"
    reasons = (Reason.CLOCK_STANDS_STILL,)
    response = "the tick is left out, and the robot keeps its target"


class HoldToDamp(Rule):
    """A fault that lasts makes the arm yield."""

    name = "hold to damp"
    bounds = "how long a fault of readings or policy may last until the arm yields"
    fields = ("hold_to_damp_s", "damp_for_s", "damp_time_s", "damp_speed_share")
    response = "damp"

    @classmethod
    def numbers(cls, layer: Layer) -> str:
        """See `Rule`."""
        return f"{layer.config.hold_to_damp_s:g} s"


class DampToEstop(Rule):
    """An arm that yields for long is stopped."""

    name = "damp to estop"
    bounds = "how long the arm may yield until that becomes an emergency stop"
    fields = ("damp_to_estop_s",)
    response = "estop"


class Stance(Rule):
    """A robot on legs that does not follow its goal stands as it does at home."""

    name = "stance"
    bounds = "where a robot on legs rests that is idle, held or stopped: in its home posture"
    fields = ("stand_speed_share",)
    response = "it goes there at this share of its velocity limits"

    @classmethod
    def applies(cls, contract: Contract) -> bool:
        """See `Rule`."""
        return Upright.applies(contract) and all(joint.mode == "position" for joint in contract.robot.joints)


RULES: tuple[type[Rule], ...] = (Overruns, EarlyTicks, HoldToDamp, DampToEstop, Stance)
