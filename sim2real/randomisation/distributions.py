"""Distributions as they stand in YAML, each bounded, so that buffers can be sized and signs checked beforehand.

friction_scale: {uniform: [0.5, 1.2]}
payload_mass_kg: {log_uniform: [0.1, 3.0]}
joint_offset_rad: {normal: [0.0, 0.002]}          # mean, standard deviation; cut at three deviations
action_delay_s: {quantiles: [0.002, 0.003, 0.009]}   # measured: equally probable between neighbours
gravity_scale: 1.0                                # always the same
damping_scale: {each: [1.0, {uniform: [1, 2]}]}   # of joints, one for each, in the order of the contract
"""

from __future__ import annotations

from typing import Annotated, Any, Self

import numpy as np
from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from sim2real.contract import Frozen
from sim2real.errors import ShoalError

NORMAL_CUT = 3.0
"""Standard deviations at which `normal` is cut off."""


class Fixed(Frozen):
    """Always one value."""

    fixed: float

    @property
    def support(self) -> tuple[float, float]:
        """Smallest and largest value."""
        return self.fixed, self.fixed

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Draws of the given shape."""
        return np.full(shape, self.fixed)


class _Between(Frozen):
    @staticmethod
    def _ordered(name: str, low: float, high: float) -> None:
        if low > high:
            raise ValueError(f"{name} [{low:g}, {high:g}] must rise")


class Uniform(_Between):
    """Any value between two, all equally likely."""

    uniform: tuple[float, float]

    @model_validator(mode="after")
    def _rises(self) -> Self:
        self._ordered("uniform", *self.uniform)
        return self

    @property
    def support(self) -> tuple[float, float]:
        """Smallest and largest value."""
        return self.uniform

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Draws of the given shape."""
        return rng.uniform(*self.uniform, size=shape)


class LogUniform(_Between):
    """Any value between two, all orders of magnitude equally likely."""

    log_uniform: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]

    @model_validator(mode="after")
    def _rises(self) -> Self:
        self._ordered("log_uniform", *self.log_uniform)
        return self

    @property
    def support(self) -> tuple[float, float]:
        """Smallest and largest value."""
        return self.log_uniform

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Draws of the given shape."""
        low, high = np.log(self.log_uniform)
        return np.clip(np.exp(rng.uniform(low, high, size=shape)), *self.log_uniform)


class Normal(Frozen):
    """Mean and standard deviation; values beyond three deviations become the bound."""

    normal: tuple[float, Annotated[float, Field(ge=0)]]

    @property
    def support(self) -> tuple[float, float]:
        """Smallest and largest value."""
        mean, std = self.normal
        return mean - NORMAL_CUT * std, mean + NORMAL_CUT * std

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Draws of the given shape."""
        return np.clip(rng.normal(*self.normal, size=shape), *self.support)


class Quantiles(Frozen):
    """A measured distribution: values at equal steps of probability, from the smallest to the largest."""

    quantiles: Annotated[tuple[float, ...], Field(min_length=2)]

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if any(left > right for left, right in zip(self.quantiles, self.quantiles[1:], strict=False)):
            raise ValueError(f"quantiles {list(self.quantiles)} must rise")
        return self

    @property
    def support(self) -> tuple[float, float]:
        """Smallest and largest value."""
        return self.quantiles[0], self.quantiles[-1]

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Draws of the given shape, linear between neighbouring quantiles."""
        return np.interp(rng.random(shape), np.linspace(0, 1, len(self.quantiles)), self.quantiles)


_KINDS: dict[str, type[Frozen]] = {
    "fixed": Fixed,
    "uniform": Uniform,
    "log_uniform": LogUniform,
    "normal": Normal,
    "quantiles": Quantiles,
}


def _kind(value: Any) -> str | None:
    """The distribution's name in YAML, or of a model built in Python."""
    if isinstance(value, dict):
        return next(iter(value)) if len(value) == 1 else "several or none"
    return next((name for name, kind in _KINDS.items() if isinstance(value, kind)), None)


def _number_is_fixed(value: Any) -> Any:
    return {"fixed": value} if isinstance(value, (int, float)) and not isinstance(value, bool) else value


_OneOf = Discriminator(
    _kind,
    custom_error_type="distribution",
    custom_error_message="give a number, or one of uniform: [low, high], log_uniform: [low, high], "
    "normal: [mean, std] and quantiles: [smallest, ..., largest]; for joints also each: [a distribution for each]",
)
_Alike = (
    Annotated[Fixed, Tag("fixed")]
    | Annotated[Uniform, Tag("uniform")]
    | Annotated[LogUniform, Tag("log_uniform")]
    | Annotated[Normal, Tag("normal")]
    | Annotated[Quantiles, Tag("quantiles")]
)


class Each(Frozen):
    """A distribution of its own for each joint, in the order of the contract."""

    each: Annotated[tuple[Annotated[_Alike, _OneOf, BeforeValidator(_number_is_fixed)], ...], Field(min_length=1)]

    @property
    def support(self) -> tuple[float, float]:
        """Smallest and largest value of any joint."""
        supports = [distribution.support for distribution in self.each]
        return min(low for low, _ in supports), max(high for _, high in supports)

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Draws of the given shape `[..., J]`; raises `ShoalError` for another number of joints."""
        if not shape or shape[-1] != len(self.each):
            joints = shape[-1] if shape else "no"
            raise ShoalError(
                f"randomisation: each has {len(self.each)} distributions, but the robot has {joints} joints; give one "
                "for each."
            )
        return np.stack([distribution.sample(rng, shape[:-1]) for distribution in self.each], axis=-1)


_KINDS["each"] = Each
Distribution = Annotated[_Alike | Annotated[Each, Tag("each")], _OneOf, BeforeValidator(_number_is_fixed)]
"""One of the above; a bare number is `fixed`."""
