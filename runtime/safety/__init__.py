"""Limits, watchdogs and the state machine between the policy and the robot; see `docs/safety.md`."""

from runtime.safety.config import SafetyConfig, load_safety
from runtime.safety.geometry_checker import GeometryChecker
from runtime.safety.machine import Safety

__all__ = ["GeometryChecker", "Safety", "SafetyConfig", "load_safety"]
