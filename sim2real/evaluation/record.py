"""What an evaluation found, as a policy file carries it: counts, intervals, and what to repeat it with.

record = EvaluationRecord.of(score, seed=1_000_003, engine="native")
record.fine.text                         # "510 of 512, 99.6 % (98.6 to 99.9 %)"
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, ValidationError, model_validator

from sim2real.errors import ShoalError, problems
from sim2real.evaluation.intervals import wilson
from sim2real.frozen import Frozen, NonNegative, Share

if TYPE_CHECKING:
    from sim2real.evaluation.success import Score

CONFIDENCE = 0.95
EVALUATION_KEY = "shoal.evaluation"
"""Of a policy file's metadata properties."""


class Reached(Frozen):
    """How many episodes reached their goal, and Wilson's interval of that share."""

    reached: Annotated[int, Field(ge=0)]
    episodes: Annotated[int, Field(ge=1)]
    low: Share
    high: Share

    @classmethod
    def of(cls, reached: int, episodes: int) -> Self:
        """A share with its interval."""
        low, high = wilson(reached, episodes, CONFIDENCE)
        return cls(reached=reached, episodes=episodes, low=low, high=high)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.reached > self.episodes:
            raise ValueError(f"{self.reached} of {self.episodes} episodes cannot have reached their goal")
        return self

    @property
    def text(self) -> str:
        """The share as text, in per cent."""
        low, high = (f"{100 * share:.1f}" for share in (self.low, self.high))
        return f"{self.reached} of {self.episodes}, {100 * self.reached / self.episodes:.1f} % ({low} to {high} %)"


class EvaluationRecord(Frozen):
    """Whole episodes of one policy, to goals that it was never trained on."""

    coarse: Reached
    """Within `goal.coarse_position_m` and `goal.coarse_angle_deg` for the last `goal.hold_s`."""
    fine: Reached
    confidence: Share = CONFIDENCE
    """Of the intervals."""
    position_error_m: NonNegative
    """Median at the end."""
    angle_error_deg: NonNegative
    terminated: Share
    """Of the episodes, over before their time."""
    seed: int
    """Of starts, goals and robots."""
    engine: str
    """The backend that simulated."""
    randomised: tuple[str, ...] = ()
    """Terms in which the robots differed from their model."""

    @classmethod
    def of(cls, score: Score, *, seed: int, engine: str, randomised: tuple[str, ...] = ()) -> Self:
        """The record of a score."""
        return cls(
            coarse=Reached.of(round(score.success_coarse * score.episodes), score.episodes),
            fine=Reached.of(round(score.success_fine * score.episodes), score.episodes),
            position_error_m=score.position_error_m,
            angle_error_deg=score.angle_error_deg,
            terminated=score.terminated,
            seed=seed,
            engine=engine,
            randomised=randomised,
        )

    @property
    def how(self) -> str:
        """What was simulated, in words."""
        robots = f"robots that differ in {', '.join(self.randomised)}" if self.randomised else "the robot as modelled"
        return f"{self.engine} simulation of {robots}, seed {self.seed}"


def read_evaluation(properties: dict[str, str], *, path: str) -> EvaluationRecord | None:
    """The record in a policy file's metadata properties; None where it has none."""
    text = properties.get(EVALUATION_KEY)
    if text is None:
        return None
    try:
        return EvaluationRecord.model_validate_json(text)
    except ValidationError as error:
        raise ShoalError(
            f"{path}: the evaluation inside is damaged: {problems(error)}; export the student again."
        ) from error
