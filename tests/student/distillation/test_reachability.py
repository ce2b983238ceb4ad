from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from student.distillation.reachability import (
    _calibrate,
    _Group,
    _logits,
    _train,
    auroc,
    expected_calibration_error,
    reliability,
)
from student.network import ReachabilityHead
from tests.student.tiny import tiny_distill_config

scored = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0]), st.booleans()), min_size=1, max_size=40)


def columns(rows: list[tuple[float, bool]]) -> tuple[np.ndarray, np.ndarray]:
    score, label = zip(*rows, strict=True)
    return np.array(score), np.array(label, np.float32)


@settings(max_examples=100, deadline=None)
@given(scored)
def test_auroc_is_the_share_of_pairs_in_the_right_order(rows: list[tuple[float, bool]]) -> None:
    score, label = columns(rows)
    pairs = [(p > n) + 0.5 * (p == n) for p in score[label == 1] for n in score[label == 0]]
    assert auroc(score, label) == pytest.approx(float(np.mean(pairs)) if pairs else 0.5)


@settings(max_examples=100, deadline=None)
@given(scored)
def test_calibration_error_is_the_weighted_gap_of_every_bin(rows: list[tuple[float, bool]]) -> None:
    probability, label = columns(rows)
    expected = 0.0
    for b in range(10):
        inside = [i for i, p in enumerate(probability) if b / 10 <= p < (b + 1) / 10 or (b == 9 and p == 1)]
        if inside:
            gap = abs(np.mean(probability[inside]) - np.mean(label[inside]))
            expected += len(inside) / len(probability) * gap
    assert expected_calibration_error(probability, label) == pytest.approx(expected, abs=1e-6)


def logistic_data(rng: np.random.Generator, slope: float, offset: float, count: int = 4000) -> Any:
    """Logits that are wrong by `slope` and `offset`, and labels drawn from the right probabilities."""
    right = rng.normal(scale=2.0, size=count)
    label = (rng.random(count) < 1 / (1 + np.exp(-right))).astype(np.float32)
    return ((right - offset) / slope).astype(np.float32), label


@pytest.mark.parametrize(("slope", "offset"), [(1.0, 0.0), (0.3, 1.0), (3.0, -1.5)])
def test_platt_scaling_recovers_slope_and_offset(slope: float, offset: float) -> None:
    logit, label = logistic_data(np.random.default_rng(0), slope, offset)
    calibration = _calibrate(logit, label)
    assert calibration.slope == pytest.approx(slope, rel=0.15)
    assert calibration.offset == pytest.approx(offset, abs=0.15)


def test_calibrated_probabilities_are_the_observed_frequencies() -> None:
    rng = np.random.default_rng(1)
    calibration = _calibrate(*logistic_data(rng, 0.25, 1.0))
    logit, label = logistic_data(rng, 0.25, 1.0)
    raw = 1 / (1 + np.exp(-logit))
    calibrated = 1 / (1 + np.exp(-(calibration.slope * logit + calibration.offset)))
    assert expected_calibration_error(calibrated, label) < 0.03
    assert expected_calibration_error(raw, label) > 0.1


@settings(max_examples=50, deadline=None)
@given(scored)
def test_reliability_counts_every_state_once(rows: list[tuple[float, bool]]) -> None:
    score, label = columns(rows)
    bins = reliability(score, label)
    assert sum(row["share"] for row in bins) == pytest.approx(1.0)
    assert sum(row["share"] * row["observed"] for row in bins) == pytest.approx(label.mean())


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_calibration_on_one_class_stays_finite(label: float) -> None:
    logit = np.random.default_rng(2).normal(size=100).astype(np.float32)
    calibration = _calibrate(logit, np.full(100, label, np.float32))
    assert np.isfinite([calibration.slope, calibration.offset]).all()


def test_head_learns_what_decides_the_outcome() -> None:
    rng = np.random.default_rng(3)

    def group(count: int) -> _Group:
        inputs = rng.normal(size=(count, 6)).astype(np.float32)
        features, label = rng.normal(size=(count, 4)).astype(np.float32), (inputs[:, 0] > 0.5).astype(np.float32)
        return _Group(inputs, features, label, -np.abs(inputs[:, 0] - 0.5))

    head, config = ReachabilityHead(), tiny_distill_config(reachability_updates=150)
    params = _train(head, group(2000), config)
    assert params["params"]["Dense_1"]["kernel"].shape[-1] == 1  # the auxiliary output is gone
    fresh = group(1000)
    assert auroc(_logits(head, params, fresh), fresh.label) > 0.95
