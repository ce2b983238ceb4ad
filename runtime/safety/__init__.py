"""Limits, watchdogs and the state machine between the policy and the robot; see `docs/safety.md`."""

from runtime.safety.config import SafetyConfig, load_safety
from runtime.safety.machine import GeometryChecker, Safety

__all__ = ["GeometryChecker", "Safety", "SafetyConfig", "load_safety"]
