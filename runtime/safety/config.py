"""The settings of the safety layer, as a typed model: `runtime serve --safety safety.yaml`.

What the contract already says (limits, control period, goal box) is not repeated here; every field either tightens
it or decides how a fault is answered. A rule whose field is None is off, and says so at start.
"""

from __future__ import annotations

from pathlib import Path

from runtime.safety.rules.balance import BalanceSettings
from runtime.safety.rules.clock import ClockSettings
from runtime.safety.rules.joints import JointSettings
from runtime.safety.rules.objects import ObjectSettings
from runtime.safety.rules.poses import PoseSettings
from runtime.safety.rules.responses import ResponseSettings
from runtime.safety.rules.targets import TargetSettings
from runtime.safety.rules.values import ValueSettings
from sim2real.errors import ShoalError
from sim2real.files import read_model


class SafetyConfig(
    ResponseSettings,
    ObjectSettings,
    BalanceSettings,
    JointSettings,
    PoseSettings,
    ValueSettings,
    ClockSettings,
    TargetSettings,
):
    """How the safety layer bounds the commands and answers faults: the settings of every rule. Frozen, finite, without
    unknown fields.
    """

    def with_stale_after(self, periods: float | None) -> SafetyConfig:
        """A copy with another `stale_after_periods`, unless that is None; `ShoalError` when it is not positive."""
        if periods is None:
            return self
        if not periods > 0:
            raise ShoalError(f"--stale-after-periods must be positive, got {periods:g}.")
        return self.model_copy(update={"stale_after_periods": periods})


def load_safety(path: Path) -> SafetyConfig:
    """Settings from a YAML file: a mapping with the fields of `SafetyConfig`; raises `ShoalError`."""
    return read_model(SafetyConfig, path, what="--safety", may_be_empty=True)
