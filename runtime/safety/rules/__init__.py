"""Every rule of the safety layer, each in one class: settings, what it bounds, why the robot then holds, how it judges,
and a fault that breaks it. Settings, start-up report, documentation, chaos and the drivers' check follow from here.

A rule more is a class here with its fields in the `...Settings` of its module, and a `Reason` in `runtime.status`.
"""

from __future__ import annotations

from runtime.safety.rules import balance, clock, joints, objects, odometry, poses, responses, targets, values
from runtime.safety.rules.base import Layer, ReadingRule, Rule
from sim2real.contract import Contract

READING_RULES: tuple[type[ReadingRule], ...] = (
    *clock.RULES,
    *values.RULES,
    *poses.RULES,
    *joints.RULES,
    *balance.RULES,
    *odometry.RULES,
    *objects.RULES,
)
"""In the order in which they judge. Those that leave no reading to be believed come first."""
RULES: tuple[type[Rule], ...] = (*targets.RULES, *READING_RULES, *responses.RULES)


def rules_of(contract: Contract) -> list[type[Rule]]:
    """The rules that a robot of this contract can break."""
    return [rule for rule in RULES if rule.applies(contract)]


def report(layer: Layer) -> str:
    """Two lines for the start-up report: the rules that are on, and those that are off with the reason."""
    rules = rules_of(layer.contract)
    on = "; ".join(f"{rule.name} {rule.numbers(layer)}".rstrip() for rule in rules if not rule.off(layer))
    off = "; ".join(f"{rule.name}: {reason}" for rule in rules if (reason := rule.off(layer))) or "none"
    return f"safety     {on}\nsafety off {off}"
