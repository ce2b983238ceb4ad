"""Limits, watchdogs and the state machine between the policy and the robot; see `docs/safety.md`."""

from runtime.safety.config import SafetyConfig, load_safety
from runtime.safety.machine import Guard, Safety
from runtime.safety.readings import Float64, Readings, is_finite

__all__ = ["Float64", "Guard", "Readings", "Safety", "SafetyConfig", "is_finite", "load_safety"]
