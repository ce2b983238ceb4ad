"""The rule on curves whose truth is known, with the noise of episodes on top."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from teacher.growth.rule import WINDOW, Evaluation, decide, line_through, on_schedule

EPISODES, EVERY = 256, 600
Curve = Callable[[int, int, int], float]
"""True success by depth, evaluations so far at that depth, and evaluations so far in the run."""


def run(curve: Curve, *, evaluations: int, max_depth: int = 64, seed: int | None = None) -> tuple[list[int], str]:
    """The depth at every evaluation of a run that obeys the rule, and the last reason; without a seed, no noise."""
    draws = None if seed is None else np.random.default_rng(seed)
    depth, seen, depths, why = 4, list[Evaluation](), list[int](), ""
    for number in range(evaluations):
        truth = curve(depth, depths.count(depth), number)
        success = truth if draws is None else draws.binomial(EPISODES, truth) / EPISODES
        seen.append(Evaluation((number + 1) * EVERY, depth, success, EPISODES))
        depths.append(depth)
        verdict, why = decide(seen, max_depth=max_depth)
        depth *= 2 if verdict == "grow" else 1
    return depths, why


@pytest.mark.parametrize("step", [0.02, 0.04])
def test_a_curve_that_rises_all_the_time_never_grows(step: float) -> None:
    assert set(run(lambda depth, own, number: step * number, evaluations=round(1 / step))[0]) == {4}


@given(level=st.floats(0.1, 0.95), seed=st.integers(0, 10_000))
def test_a_flat_curve_is_tried_once_and_stops(level: float, seed: int) -> None:
    depths, why = run(lambda depth, own, number: level, evaluations=40)
    assert max(depths) == 8
    assert "did not pay" in why


def test_noise_alone_grows_further_in_few_runs_and_never_without_end() -> None:
    reached = [max(run(lambda *_: 0.5, evaluations=60, seed=seed)[0]) for seed in range(200)]
    assert np.mean(np.array(reached) > 8) < 0.1
    assert max(reached) <= 16


def test_depth_that_pays_is_bought_until_it_no_longer_does() -> None:
    levels = {4: 0.3, 8: 0.5, 16: 0.7, 32: 0.7, 64: 0.7}
    for seed in range(50):
        depths, why = run(lambda depth, own, number: levels[depth], evaluations=60, seed=seed)
        assert max(depths) in (32, 64), (seed, depths)
    depths, why = run(lambda depth, own, number: levels[depth], evaluations=60)
    assert max(depths) == 32
    assert why == "the last doubling did not pay, 70% where depth 16 promised 70%"


@given(max_depth=st.sampled_from([4, 8, 16, 64, 100]), seed=st.integers(0, 10_000))
def test_the_greatest_depth_is_kept(max_depth: int, seed: int) -> None:
    depths, _ = run(lambda depth, *_: min(0.9, depth / 80), evaluations=60, max_depth=max_depth, seed=seed)
    assert max(depths) <= max_depth


def test_nothing_learnt_and_everything_learnt_are_no_reasons_to_grow() -> None:
    assert run(lambda *_: 0.0, evaluations=40) == ([4] * 40, "nothing has been learnt yet")
    assert run(lambda *_: 0.995, evaluations=40) == ([4] * 40, "100% leaves nothing to gain")


def test_what_has_stopped_never_grows_again() -> None:
    """A late jump at the same depth, which a fresh judgement would take for what the doubling bought."""
    depths, why = run(lambda depth, own, number: 0.9 if number > 30 else 0.5, evaluations=60)
    assert max(depths) == 8
    assert "did not pay" in why


def test_a_deeper_network_has_the_work_of_the_shallower_one_to_show_what_it_can_do() -> None:
    """Ten evaluations at depth 4 are five at depth 8."""
    flat = [Evaluation(EVERY * n, 4 if n <= 10 else 8, 0.5, EPISODES) for n in range(1, 16)]
    assert decide(flat[:14], max_depth=64).verdict == "stay"
    assert decide(flat, max_depth=64).verdict == "stop"


@given(seed=st.integers(0, 10_000), cut=st.integers(1, 30))
def test_the_same_evaluations_always_give_the_same_decision(seed: int, cut: int) -> None:
    """What a resumed run relies on: nothing but the evaluations counts."""
    draws = np.random.default_rng(seed)
    seen = [Evaluation(EVERY * n, 4, draws.binomial(EPISODES, 0.4) / EPISODES, EPISODES) for n in range(1, cut + 1)]
    assert decide(seen, max_depth=64) == decide(list(seen), max_depth=64)
    assert cut >= WINDOW or decide(seen, max_depth=64).verdict == "stay"


def test_line_has_the_noise_of_the_episodes_where_the_points_lie_on_it() -> None:
    line = line_through([Evaluation(n, 4, 0.5 + 0.01 * n, 100) for n in range(4)])
    assert (line.level, line.rise) == (pytest.approx(0.515), pytest.approx(0.03))
    assert line.level_error == pytest.approx(0.05 / 2, rel=0.01)
    assert line.rise_error == pytest.approx(0.05 * 3 / 5**0.5, rel=0.01)


def test_a_schedule_grows_when_it_says() -> None:
    seen = [Evaluation(updates, depth, 0.0, 8) for updates, depth in ((5, 4), (10, 4), (15, 8), (20, 8))]
    verdicts = [on_schedule(seen[:count], [10, 20]).verdict for count in range(1, 5)]
    assert verdicts == ["stay", "grow", "stay", "grow"]
    assert on_schedule([*seen, Evaluation(25, 16, 0.0, 8)], [10, 20]).verdict == "stay"
