"""The part of a stress report's JSON that belongs on a card. `sim2real stress` writes that file."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, Field, ValidationError

from runtime.inference.policy import Policy
from sim2real.errors import ContractMismatch, ShoalError, problems, shown


class _Boundary(BaseModel):
    boundary: float | None


class StressSummary(BaseModel):
    """How much was borne; fields that are not needed here are ignored."""

    contract: str
    """Digest."""
    sentences: list[str] = Field(min_length=1)
    """The verdict, one for each requirement, one for each boundary."""
    level: float
    requirements: list[object]
    boundaries: list[_Boundary]

    @classmethod
    def read(cls, path: Path, policy: Policy) -> Self:
        """Read the summary of this policy; `ShoalError` where it is of one with another contract, or none."""
        try:
            report = cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise ShoalError(f"--stress: {path} cannot be read: {error.strerror}.") from error
        except ValidationError as error:
            raise ShoalError(f"--stress: {path} is no JSON of sim2real stress: {problems(error)}.") from error
        # A contract of an older version is read as, and hashed as, another one: either may have been stated.
        known = policy.contract.digest, policy.certificate.contract_sha256
        if report.contract not in known:
            raise ContractMismatch(
                f"--stress: {path} is about contract {shown(report.contract[:12])}, the policy has "
                f"{known[0][:12]}; run sim2real stress on this file."
            )
        if len(report.sentences) != 1 + len(report.requirements) + len(report.boundaries):
            raise ShoalError(f"--stress: {path} has {len(report.sentences)} sentences, which don't fit its numbers.")
        return report

    def lines(self) -> tuple[str, ...]:
        """The verdict, the requirements, and every boundary that was found."""
        first = 1 + len(self.requirements)
        found = [
            sentence
            for sentence, boundary in zip(self.sentences[first:], self.boundaries, strict=True)
            if boundary.boundary is not None
        ]
        others = len(self.boundaries) - len(found)
        rest = f"{others} other disturbances never brought success below {self.level:.0%} within what was tried."
        return (*self.sentences[:first], *found, *([rest] if others else []))
