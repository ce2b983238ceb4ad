"""Which rules are on and which are off, in words, for the start-up report."""

from __future__ import annotations

from typing import NamedTuple

from runtime.robot.readings import Float64
from runtime.safety.machine import Safety
from sim2real.contract import Contract


class Rule(NamedTuple):
    """One rule of the safety layer."""

    name: str
    on: bool
    detail: str
    """Its numbers, or why it is off."""


def rules(safety: Safety, contract: Contract) -> list[Rule]:
    """Every rule. Whether the driver measures effort shows with the first readings only."""
    config, period = safety.config, contract.timing.control_dt_s
    speeds, changes = safety.max_step / period, safety.max_step_change / period**2
    return [
        Rule("position", True, f"{config.position_margin_rad:g} rad inside the contract's limits"),
        Rule("velocity", True, _range(speeds, "rad/s")),
        Rule("acceleration", True, _range(changes, "rad/s2")),
        _rule(
            "effort",
            config.effort_share,
            f"{config.effort_share} of the contract's limits, if the driver measures it",
            "effort_share",
        ),
        _rule("tracking", config.tracking_max_rad, f"{config.tracking_max_rad} rad", "tracking_max_rad"),
        _rule("ramp-in", config.ramp_in_s or None, f"{config.ramp_in_s:g} s", "ramp_in_s"),
        Rule("stale readings", True, f"{1e3 * safety.stale_after_s:g} ms"),
        *([] if contract.tracked is None else [Rule("lost object", True, f"{config.object_stale_s:g} s")]),
        _rule(
            "frozen readings",
            config.frozen_after_periods,
            f"{config.frozen_after_periods} periods",
            "frozen_after_periods",
        ),
        _rule("clock jumps", config.clock_jump_s, f"{config.clock_jump_s} s", "clock_jump_s"),
        _rule("overruns", config.overruns_in_a_row, f"{config.overruns_in_a_row} in a row", "overruns_in_a_row"),
        _workspace(safety, contract),
        _self_collision(safety),
        _rule("hold to damp", config.hold_to_damp_s, f"{config.hold_to_damp_s} s", "hold_to_damp_s"),
        _rule("damp to estop", config.damp_to_estop_s, f"{config.damp_to_estop_s} s", "damp_to_estop_s"),
    ]


def report(safety: Safety, contract: Contract) -> str:
    """For the start-up report: the rules that are on, those that are off with the reason, and what they run in."""
    every = rules(safety, contract)
    on = "; ".join(f"{rule.name} {rule.detail}" for rule in every if rule.on)
    off = "; ".join(f"{rule.name}: {rule.detail}" for rule in every if not rule.on) or "none"
    return f"safety     {on}\nsafety off {off}\nsafety in  {safety.engine}"


def _rule(name: str, setting: object, detail: str, field: str) -> Rule:
    return Rule(name, setting is not None, detail if setting is not None else f"{field} is not set")


def _workspace(safety: Safety, contract: Contract) -> Rule:
    box = safety.config.workspace(contract)
    if box is None and contract.tracked is not None:
        why = "the goal box is the object's, not the tool's; set workspace_min_m and workspace_max_m"
        return Rule("workspace", False, why)
    if box is None:
        return Rule("workspace", False, "workspace_margin_m is not set")
    if safety.geometry_checker is None:
        return Rule("workspace", False, _NO_GEOMETRY)
    low, high = ("(" + ", ".join(f"{value:.4g}" for value in corner) + ")" for corner in box)
    return Rule("workspace", True, f"{low} to {high} m")


def _self_collision(safety: Safety) -> Rule:
    distance = safety.config.self_collision_m
    if distance is None:
        return Rule("self-collision", False, "self_collision_m is not set")
    if safety.geometry_checker is None:
        return Rule("self-collision", False, _NO_GEOMETRY)
    checker = safety.geometry_checker
    if not checker.pairs:
        return Rule("self-collision", False, "the MJCF lets no two links of the robot collide")
    return Rule(
        "self-collision",
        True,
        f"{1e3 * distance:g} mm, {len(checker.pairs)} pairs of geoms, {checker.first_look}",
    )


_NO_GEOMETRY = "no MJCF with the contract's digest is at hand"


def _range(values: Float64, unit: str) -> str:
    numbers = sorted({float(f"{value:.4g}") for value in values})
    return f"{numbers[0]:g} {unit}" if len(numbers) == 1 else f"{numbers[0]:g} to {numbers[-1]:g} {unit}"
