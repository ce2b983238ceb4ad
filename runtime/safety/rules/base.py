"""What a rule of the safety layer says about itself, and what one that judges readings does besides."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from runtime.memory import Remembers
from runtime.robot.layout import Layout
from runtime.robot.readings import Readings
from runtime.safety.geometry_checker import GeometryChecker
from runtime.status import Reason
from sim2real.contract import Contract

if TYPE_CHECKING:
    from runtime.safety.config import SafetyConfig

_UNITS = {"_m_s": "m/s", "_rad": "rad", "_deg": "deg", "_m": "m", "_s": "s", "_periods": "periods", "_row": "in a row"}
"""By the end of a setting's name; longer ends first."""
NO_GEOMETRY = "no MJCF with the contract's digest is at hand"


class Layer(NamedTuple):
    """The safety layer that a rule is part of."""

    contract: Contract
    config: SafetyConfig
    geometry_checker: GeometryChecker | None


class Rule(ABC):
    """One rule: everything that people read about it. Where it is worked out says its docstring."""

    name: ClassVar[str]
    bounds: ClassVar[str]
    """What it bounds, for the documentation."""
    fields: ClassVar[tuple[str, ...]] = ()
    """Its settings in `SafetyConfig`; it is off where the first of them is None."""
    reasons: ClassVar[tuple[Reason, ...]] = ()
    """Why the robot does not follow while it is broken."""
    response: ClassVar[str] = "the command is corrected"
    """What happens where there is no such reason."""

    @classmethod
    def applies(cls, contract: Contract) -> bool:
        """Whether a robot of this contract can break it."""
        return True

    @classmethod
    def is_set(cls, config: SafetyConfig) -> bool:
        """Whether the settings want it."""
        return not cls.fields or getattr(config, cls.fields[0]) is not None

    @classmethod
    def off(cls, layer: Layer) -> str:
        """Why it is off; empty when it is on."""
        return "" if cls.is_set(layer.config) else f"{cls.fields[0]} is not set"

    @classmethod
    def numbers(cls, layer: Layer) -> str:
        """What holds at present, for the start-up report."""
        return ", ".join(_with_unit(field, getattr(layer.config, field)) for field in cls.fields)


class Moment:
    """One tick's readings, as the rules see them. Plain numbers, since rules look at few of them at a time."""

    __slots__ = ("checker", "fresh", "now_s", "readings", "started", "target", "time_s", "values", "yielding")

    readings: Readings
    values: list[float]
    """Of `readings.vector`."""
    time_s: float
    """When they were measured, on the driver's clock."""
    now_s: float
    """The driver's clock."""
    fresh: bool
    """Whether they are newer than those of the tick before."""
    target: list[float]
    """Where the joints were sent, `[J]` rad."""
    started: bool
    """False before the first readings that could be trusted, when there is no target yet."""
    yielding: bool
    """Whether the target comes to the joints, which may well stand still."""
    checker: GeometryChecker | None


class Fault(NamedTuple):
    """A way to break a rule, by which it is shown to work."""

    name: str
    description: str
    make: Callable[[], Callable[[Readings], object]]
    """Gives a function that spoils the readings of one tick after the other."""
    response: str = "hold"
    ticks: int = 10
    """How long it takes at most to be noticed, in a robot that moves."""


class ReadingRule(Rule, Remembers):
    """A rule about what is measured, made for one robot. What it keeps from tick to tick it names in `remembered`.

    The arguments are the contract, the settings and the readings' layout.
    """

    begins_anew: ClassVar[bool] = False
    """Whether the other rules forget the ticks before when it is broken."""
    about_object: ClassVar[bool] = False
    """Whether only policies that move an object can meet it."""
    joints_believed: ClassVar[bool] = False
    """Whether the measured joints still hold when it is broken, so that an arm may yield to them."""
    faults: ClassVar[tuple[Fault, ...]] = ()

    def __init__(self, contract: Contract, config: Any, layout: Layout) -> None:
        """What follows from the contract is worked out here, once."""

    @classmethod
    def applies(cls, contract: Contract) -> bool:
        """See `Rule`."""
        return contract.tracked is not None or not cls.about_object

    def restart(self) -> None:
        """Forget the ticks before: the robot or its clock began anew."""

    @abstractmethod
    def judge(self, moment: Moment) -> Reason:
        """`FOLLOWING`, or one of `reasons`."""

    @abstractmethod
    def explain(self, moment: Moment) -> str:
        """What `judge` has just found: which reading, its value, and what it should be."""


def spoil(change: Callable[[Readings], object]) -> Callable[[], Callable[[Readings], object]]:
    """The `Fault.make` of a change that is the same in every tick."""
    return lambda: change


def _with_unit(field: str, value: object) -> str:
    unit = next((unit for end, unit in _UNITS.items() if field.endswith(end)), "")
    return f"{value:g} {unit}".rstrip() if isinstance(value, (int, float)) else str(value)
