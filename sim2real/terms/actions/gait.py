"""An action about a periodic motion: legs that step by themselves, and a policy that learns how to step otherwise.

The motion is a prior that the task declares. It is computed from the phase that a `phase_clock` tells, in the graph as
in simulation, so that a robot needs nothing but a clock.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Self

import numpy as np
from pydantic import Field, model_validator

from sim2real.errors import ShoalError
from sim2real.frozen import Frozen, Positive
from sim2real.terms.actions.base import Action, Array

if TYPE_CHECKING:
    from sim2real.contract import Contract
    from sim2real.terms.scene import Scene


class Harmonic(Frozen):
    """`amplitude sin(2 pi (k t / period + phase))` of every joint, in the k-th harmonic."""

    amplitude: Annotated[tuple[float, ...], Field(min_length=1)]
    """`[J]`, rad or m."""
    phase: Annotated[tuple[float, ...], Field(min_length=1)]
    """`[J]`, turns: 0.5 is the opposite phase."""

    @model_validator(mode="after")
    def _as_many(self) -> Self:
        if len(self.amplitude) != len(self.phase):
            raise ValueError(f"amplitude has {len(self.amplitude)} entries and phase {len(self.phase)}")
        return self


class JointPositionAboutGait(Action):
    """Each joint's target is home, plus a periodic motion, plus up to `reach`."""

    kind: str = "joint_position_about_gait"
    harmonics: Annotated[tuple[Harmonic, ...], Field(min_length=1, max_length=2)]
    """The motion's first harmonic, and its second where there is one."""
    reach: Positive | tuple[Positive, ...] = 0.5
    """Largest distance of the policy's own, rad or m, of all joints or `[J]`."""
    clock: str = "phase_clock"
    """Name of the reading that tells the phase."""

    @property
    def needs(self) -> tuple[str, ...]:
        """The clock, too."""
        return *super().needs, self.clock

    def completed(self, scene: Scene) -> Self:
        """One amplitude and phase for each joint."""
        joints = len(scene.robot.joints)
        counts = [len(harmonic.amplitude) for harmonic in self.harmonics]
        counts += [len(self.reach)] if isinstance(self.reach, tuple) else []
        if set(counts) != {joints}:
            raise ShoalError(f"action: harmonics and reach have {counts} entries for {joints} joints; give one each.")
        return super().completed(scene)

    def motion(self, contract: Contract, sine: Array, cosine: Array) -> Array:
        """The prior's targets `[..., J]`, from sine and cosine of the phase, `[..., 1]` each."""
        home = np.array([joint.home_position for joint in contract.robot.joints], np.float32)
        pairs = [(sine, cosine), (2 * sine * cosine, cosine * cosine - sine * sine)]
        targets = home
        for harmonic, (s, c) in zip(self.harmonics, pairs, strict=False):
            angle = 2 * math.pi * np.array(harmonic.phase)
            amplitude = np.array(harmonic.amplitude)
            targets = targets + s * np.float32(amplitude * np.cos(angle)) + c * np.float32(amplitude * np.sin(angle))
        return targets

    def wanted(self, xp: ModuleType, contract: Contract, action: Array, readings: Mapping[str, Array]) -> Array:
        """The prior and a share of the reach."""
        phase = readings[self.clock]
        return self.motion(contract, phase[..., :1], phase[..., 1:]) + np.array(self.reach, np.float32) * action

    def sample_previous(self, rng: np.random.Generator, contract: Contract, measured: np.ndarray) -> np.ndarray:
        """Up to 2 rad or m from the positions."""
        return np.clip(measured + rng.uniform(-2, 2, measured.shape), *contract.command_limits)
