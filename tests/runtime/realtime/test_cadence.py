"""Ticks come no sooner than the driver's clock goes on."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from runtime.realtime.cadence import LEAST_ADVANCE, Cadence

PERIOD_S = 0.04


def taken(times: list[float]) -> list[float]:
    cadence = Cadence(PERIOD_S)
    return [time for time in times if not cadence.is_early(time)]


@pytest.mark.parametrize("share", [0.01, 0.5, 0.8])
def test_ticks_that_come_too_often_move_no_robot_faster(share: float) -> None:
    ticks = taken([index * share * PERIOD_S for index in range(2000)])
    span = ticks[-1] - ticks[0]
    assert len(ticks) <= span / (LEAST_ADVANCE * PERIOD_S) + 3
    assert len(ticks) >= 0.9 * span / PERIOD_S


@pytest.mark.parametrize("share", [0.91, 1.0, 3.0])
def test_ticks_at_their_pace_are_all_taken(share: float) -> None:
    times = [index * share * PERIOD_S for index in range(2000)]
    assert taken(times) == times


def test_a_loop_on_its_grid_loses_no_tick_however_late_some_are() -> None:
    rng = np.random.default_rng(0)
    late = rng.choice([0.0, 0.3, 0.9, 0.95], 5000)
    times = [(index + share) * PERIOD_S for index, share in enumerate(late)]
    assert taken(times) == times


def test_what_has_queued_up_is_left_out_and_forgotten() -> None:
    cadence = Cadence(PERIOD_S)
    times = itertools.chain((index * PERIOD_S for index in range(20)), [2.0] * 20)
    assert sum(cadence.is_early(time) for time in times) == 18
    assert cadence.early == 18
    for index in range(1, 40):
        assert not cadence.is_early(2.0 + index * PERIOD_S)
    assert cadence.early == 0


def test_a_clock_that_jumps_back_is_no_early_tick() -> None:
    cadence = Cadence(PERIOD_S)
    assert not any(cadence.is_early(1000 + index * PERIOD_S) for index in range(20))
    assert not any(cadence.is_early(index * PERIOD_S) for index in range(20))
