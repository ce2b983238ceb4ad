"""Intervals of shares, and the record of an evaluation that policy files carry."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim2real.errors import ShoalError
from sim2real.evaluation.intervals import wilson
from sim2real.evaluation.record import EVALUATION_KEY, EvaluationRecord, Reached, read_evaluation
from sim2real.evaluation.success import Score

SCORE = Score(512, 510 / 512, 505 / 512, 0.85, 0.0035, 0.7, 0.0)


@given(st.integers(1, 2000), st.floats(0, 1), st.floats(0.5, 0.999))
def test_wilson_interval_holds_the_estimate(episodes: int, share: float, confidence: float) -> None:
    successes = round(share * episodes)
    low, high = wilson(successes, episodes, confidence)
    assert 0 <= low <= successes / episodes + 1e-12
    assert successes / episodes - 1e-12 <= high <= 1


def test_wilson_interval_of_a_known_case() -> None:
    # Eight of ten, from z = 1.96: (0.8 + 0.19207 ± 1.96 sqrt(0.016 + 0.0096)) / 1.38415.
    assert wilson(8, 10, 0.95) == pytest.approx((0.4901, 0.9433), abs=2e-4)


def test_counts_and_intervals_come_back_from_a_file() -> None:
    record = EvaluationRecord.of(SCORE, seed=1_000_003, engine="native", randomised=("payload_mass_kg",))
    assert record.coarse.text == "510 of 512, 99.6 % (98.6 to 99.9 %)"
    assert (record.fine.reached, record.fine.low) == (505, wilson(505, 512, 0.95)[0])
    assert record.how == "native simulation of robots that differ in payload_mass_kg, seed 1000003"
    assert read_evaluation({EVALUATION_KEY: record.model_dump_json()}, path="p.onnx") == record
    assert read_evaluation({}, path="p.onnx") is None


def test_what_cannot_be_is_refused_in_one_sentence() -> None:
    with pytest.raises(ValueError, match="9 of 8 episodes cannot have reached"):
        Reached(reached=9, episodes=8, low=0, high=1)
    plain = EvaluationRecord.of(SCORE, seed=0, engine="native").model_dump(mode="json")
    plain["fine"]["low"] = 3
    with pytest.raises(ShoalError, match=r"^p\.onnx: the evaluation inside is damaged: fine\.low"):
        read_evaluation({EVALUATION_KEY: json.dumps(plain)}, path="p.onnx")
