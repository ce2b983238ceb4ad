"""An action about a periodic motion: legs that step by themselves, and a policy that learns how to step otherwise.

The motion is a prior that the task declares. It is computed from the phase that a `phase_clock` tells, in the graph as
in simulation, so that a robot needs nothing but a clock.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from sim2real.errors import ShoalError
from sim2real.frozen import Frozen, Positive, once_each
from sim2real.terms.actions.base import Action, Array, require_alike, require_home_alike
from sim2real.terms.sides import Mirrored

if TYPE_CHECKING:
    from sim2real.contract import Contract, Robot
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

    def later(self, periods: float, number: int) -> np.ndarray:
        """Its amplitude and phase as complex numbers `[J]`, some periods of the clock later, as harmonic `number`."""
        turns = np.array(self.phase) + number * periods
        later: np.ndarray = np.array(self.amplitude) * np.exp(2j * math.pi * turns)
        return later

    def at(self, sine: Array, cosine: Array) -> Array:
        """Its value `[..., J]` at a phase, from sine and cosine of `2 pi k t / period`, `[..., 1]` each."""
        in_phase, ahead = _quadratures(self)
        return sine * in_phase + cosine * ahead


@once_each
def _quadratures(harmonic: Harmonic) -> tuple[np.ndarray, np.ndarray]:
    """What sine and cosine of the clock's phase count for every joint, `[J]` each."""
    angle, amplitude = 2 * math.pi * np.array(harmonic.phase), np.array(harmonic.amplitude)
    parts = (amplitude * np.cos(angle), amplitude * np.sin(angle))
    in_phase, ahead = (part.astype(np.float32) for part in parts)
    return in_phase, ahead


class JointPositionAboutGait(Action):
    """Each joint's target is home, plus a periodic motion, plus up to `reach`, plus a swing in time with the motion.

    A policy that is to walk by `reach` alone has to find the rhythm; where a joint has a `swing` an action that stays
    as it is walks. Actions are the joints' own, `[J]`, and behind them one for each joint that swings.
    """

    kind: str = "joint_position_about_gait"
    harmonics: Annotated[tuple[Harmonic, ...], Field(min_length=1, max_length=2)]
    """The motion's first harmonic, and its second where there is one."""
    reach: Positive | tuple[Positive, ...] = 0.5
    """Largest distance of the policy's own, rad or m, of all joints or `[J]`."""
    swing: Harmonic | None = None
    """A first harmonic that the policy scales by [-1, 1], joint by joint; joints of amplitude 0 don't swing."""
    clock: str = "phase_clock"
    """Name of the reading that tells the phase."""

    @model_serializer(mode="wrap")
    def _without_absent(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without a swing where there is none, so that digests of files from before there were any stay."""
        plain: dict[str, Any] = serialise(self)
        if self.swing is None:
            plain.pop("swing", None)
        return plain

    @property
    def _swinging(self) -> np.ndarray:
        """Places of the joints that swing, `[S]`."""
        return np.flatnonzero(() if self.swing is None else self.swing.amplitude)

    def size(self, robot: Robot) -> int:
        """J, and one for each joint that swings."""
        return super().size(robot) + len(self._swinging)

    @property
    def needs(self) -> tuple[str, ...]:
        """The clock, too."""
        return *super().needs, self.clock

    def completed(self, scene: Scene) -> Self:
        """One amplitude and phase for each joint."""
        joints = len(scene.robot.joints)
        declared = self.harmonics if self.swing is None else (*self.harmonics, self.swing)
        counts = [len(harmonic.amplitude) for harmonic in declared]
        counts += [len(self.reach)] if isinstance(self.reach, tuple) else []
        if set(counts) != {joints}:
            raise ShoalError(
                f"action: harmonics, swing and reach have {counts} entries for {joints} joints; give one each."
            )
        return super().completed(scene)

    def motion(self, contract: Contract, sine: Array, cosine: Array) -> Array:
        """The prior's targets `[..., J]`, from sine and cosine of the phase, `[..., 1]` each."""
        home = np.float32(contract.home_positions)
        pairs = [(sine, cosine), (2 * sine * cosine, cosine * cosine - sine * sine)]
        targets = home
        for harmonic, (s, c) in zip(self.harmonics, pairs, strict=False):
            targets = targets + harmonic.at(s, c)
        return targets

    def wanted(self, xp: ModuleType, contract: Contract, action: Array, readings: Mapping[str, Array]) -> Array:
        """The prior, a share of the reach, and a share of the swing."""
        phase, joints = readings[self.clock], len(contract.robot.joints)
        sine, cosine = phase[..., :1], phase[..., 1:]
        wanted = self.motion(contract, sine, cosine) + np.array(self.reach, np.float32) * action[..., :joints]
        if self.swing is None:
            return wanted
        spread = np.eye(joints, dtype=np.float32)[self._swinging]
        return wanted + self.swing.at(sine, cosine) * (action[..., joints:] @ spread)

    def mirrored(self, contract: Contract, joints: Mirrored) -> Mirrored:
        """As joints do, where each side's motion is the other's half a period later; so with swings."""
        require_home_alike(contract, joints)
        require_alike(self.kind, joints, step_max=self.step_max, reach=self.reach)
        for number, harmonic in enumerate(self.harmonics, 1):
            if not np.allclose(harmonic.later(0.5, number), joints(harmonic.later(0.0, number)), atol=1e-6):
                raise ShoalError(
                    f"mirror: action: harmonic {number} of one side is not that of the other half a period later; "
                    "leave mirror out."
                )
        if self.swing is None:
            return joints
        here, there = self.swing.later(0.5, 1), joints(self.swing.later(0.0, 1))
        opposite = np.where(np.isclose(here, there, atol=1e-6), 1.0, -1.0)
        if not np.allclose(opposite * here, there, atol=1e-6):
            raise ShoalError(
                "mirror: action: one side's swing is not the other's half a period later; leave mirror out."
            )
        places = {joint: place for place, joint in enumerate(self._swinging.tolist())}
        order = np.array([places[joint] for joint in joints.order[self._swinging].tolist()])
        swings = Mirrored(order, opposite[self._swinging].astype(np.float32))
        return Mirrored.joined([(0, joints), (len(joints.order), swings)])

    def sample_previous(self, rng: np.random.Generator, contract: Contract, measured: np.ndarray) -> np.ndarray:
        """Up to 2 rad or m from the positions."""
        return np.clip(measured + rng.uniform(-2, 2, measured.shape), *contract.command_limits)
