"""What a stress test asks: quantities to sweep, pairs to map, and what must hold for a go.

    config = load_stress(None)                      # the sweeps that ship with Shoal, default.yaml
    config = load_stress(Path("stress.yaml"))       # your own; what it doesn't say is as shipped

A sweep moves one term of `Randomisation` from the value that changes nothing to `to`. Terms that may have either sign
are swept as ranges of half width x, `uniform: [-x, x]`, all others as the value x itself.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field, ValidationError, model_validator

from sim2real.contract import Frozen
from sim2real.errors import ShoalError, problems
from sim2real.files import read_yaml
from sim2real.randomisation.config import TERMS, Randomisation

Probability = Annotated[float, Field(gt=0, lt=1)]
Episodes = Annotated[int, Field(ge=8)]


class Sweep(Frozen):
    """One term, from the value that changes nothing to `to`."""

    term: str
    to: float
    given: Randomisation = Randomisation()
    """What else differs meanwhile: a payload while its offset is swept."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.term not in TERMS:
            raise ValueError(f"{self.term!r} is no term of randomisation; terms are {', '.join(TERMS)}")
        if self.to == TERMS[self.term].neutral:
            raise ValueError(f"{self.term}: to {self.to:g} changes nothing")
        if self.signed and self.to < 0:
            raise ValueError(f"{self.term}: to {self.to:g} is a half width, which must be above 0")
        self.setting(self.to, Randomisation())
        return self

    @property
    def name(self) -> str:
        """The term, with the direction where there are two."""
        neutral = TERMS[self.term].neutral
        return self.term if neutral == 0 else f"{self.term} {'up' if self.to > neutral else 'down'}"

    @property
    def signed(self) -> bool:
        """Whether the term may have either sign."""
        return TERMS[self.term].low < 0

    def value(self, share: float) -> float:
        """The swept value `share` of the way: on a logarithmic scale for factors, on a linear one otherwise."""
        neutral = TERMS[self.term].neutral
        if neutral > 0 and self.to > 0:
            return float(neutral * np.exp(share * np.log(self.to / neutral)))
        return float(neutral + share * (self.to - neutral))

    def terms(self, value: float) -> dict[str, Any]:
        """What to put into a `Randomisation`."""
        swept: dict[str, Any] = {self.term: {"uniform": (-value, value)} if self.signed else {"fixed": value}}
        return self.given.model_dump(include=set(self.given.active)) | swept

    def setting(self, value: float, base: Randomisation) -> Randomisation:
        """`base` with the term at `value`."""
        return combined(base, self.terms(value))


def combined(base: Randomisation, *terms: dict[str, Any]) -> Randomisation:
    """`base` with terms replaced."""
    values = base.model_dump(include=set(base.active))
    for some in terms:
        values |= some
    try:
        return Randomisation.model_validate(values)
    except ValidationError as error:
        raise ValueError(problems(error)) from error


class Requirement(Frozen):
    """Go only if success is at least this under these terms: `{name: 1 kg, under: {payload_mass_kg: 1.0}}`."""

    name: str
    under: Randomisation
    success: Probability = 0.9


class Precision(Frozen):
    """How many episodes an answer may cost."""

    confidence: Probability = 0.95
    """Of each statement that success is above or below a threshold."""
    episodes_first: Episodes = 64
    """Of each point; doubled until the answer is clear."""
    episodes_max: Episodes = 512
    bracket: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """A boundary is known well enough when it lies between two values this share of the larger one apart."""
    pair_grid: Annotated[int, Field(ge=2)] = 6
    """Values of each quantity of a heat map."""
    pair_episodes: Episodes = 64

    @model_validator(mode="after")
    def _grows(self) -> Self:
        if self.episodes_max < self.episodes_first:
            raise ValueError(f"episodes_max {self.episodes_max} must be at least episodes_first {self.episodes_first}")
        return self


class StressConfig(Frozen):
    """The whole YAML file."""

    level: Probability = 0.9
    """A boundary is where success falls below this share."""
    base: Randomisation = Randomisation()
    """Around which quantities are swept."""
    trained: Randomisation | None = None
    """What the policy was trained on, drawn beside the boundaries; by default what the task declares."""
    sweeps: Annotated[tuple[Sweep, ...], Field(min_length=1)]
    pairs: tuple[tuple[str, str], ...] = ()
    """Names of two sweeps each (`payload_mass_kg`, or `servo_stiffness_scale down` where it has two directions)."""
    requirements: tuple[Requirement, ...] = ()
    precision: Precision = Precision()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [sweep.name for sweep in self.sweeps]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"sweeps: {name!r} stands there twice")
        for pair in self.pairs:
            first, second = (self.sweep(name) for name in pair)
            if first.term == second.term:
                raise ValueError(f"pairs: {list(pair)} are the same term")
            combined(self.base, first.terms(first.to), second.terms(second.to))
        return self

    def sweep(self, name: str) -> Sweep:
        """Find a sweep by its name, or by its term where that has one direction only."""
        found = [sweep for sweep in self.sweeps if name in (sweep.name, sweep.term)]
        if len(found) != 1:
            names = ", ".join(sweep.name for sweep in found or self.sweeps)
            raise ValueError(f"pairs: {name!r} is {'ambiguous' if found else 'no sweep'}; sweeps are {names}")
        return found[0]

    def quick(self) -> Self:
        """The settings that answer the same question roughly."""
        rough = Precision(
            confidence=0.9, episodes_first=40, episodes_max=80, bracket=0.3, pair_grid=3, pair_episodes=16
        )
        return self.model_copy(update={"precision": rough})


def load_stress(path: Path | None) -> StressConfig:
    """A YAML file over what ships with Shoal; `ShoalError` on anything invalid."""
    data = _read(Path(str(resources.files("sim2real"))) / "stress" / "default.yaml")
    if path is not None:
        own = _read(path)
        # Pairs name sweeps, so the shipped ones mean nothing among sweeps of one's own.
        data = data | ({"pairs": []} if "sweeps" in own else {}) | own
    try:
        return StressConfig.model_validate(data)
    except ValidationError as error:
        raise ShoalError(f"stress: {path}: {problems(error)}.") from error


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ShoalError(f"stress: no file at {path}.")
    data = read_yaml(path, what="stress")
    data = {} if data is None else data
    if not isinstance(data, dict):
        raise ShoalError(f"stress: {path} must hold keys such as sweeps and requirements, not {data!r}.")
    return data
