"""When a run that begins with one block doubles its depth, and when it stops doing so: a pure function of what it has
logged.

Success is a share of a few hundred episodes, so everything is judged by a line through the last four evaluations of a
depth and by the noise around it: that of the episodes, or that of the points about the line if it is larger. Nothing is
decided while success rises by more than one standard error of the line, nor before anything has been learnt.

- The first depth that rises no more is doubled.
- A deeper one that rises no more is doubled if it is better by two standard errors and two points than what the line of
  the depth before promised for another window.
- If it is not better once it has had as much work as the depth before, growth is over for good. So it is where success
  is complete, and where another doubling would be beyond the greatest depth.

Work is updates times depth, and not the clock's time, so that a run that was killed decides again what it had decided.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Literal, NamedTuple

import numpy as np

from sim2real.evaluation.intervals import wilson

WINDOW = 4
"""Evaluations of one depth from which anything is decided."""
RISE_ERRORS, GAIN_ERRORS = 1.0, 2.0
"""Standard errors beyond which success still rises, and beyond which a doubling has paid."""
SMALLEST_GAIN = 0.02
"""Success that a doubling has to add at least, and that must be left to gain."""
NOTHING_LEARNT = 0.05
"""Success that a plateau must not lie clearly below: what has not begun to rise has not stopped rising either."""
_CONFIDENCE = 0.9


class Evaluation(NamedTuple):
    """Success on held-out goals at one moment of a run."""

    updates: int
    depth: int
    success: float
    episodes: int


class Decision(NamedTuple):
    """What comes of an evaluation."""

    verdict: Literal["stay", "grow", "stop"]
    why: str


class Line(NamedTuple):
    """The line through a window of evaluations: its height in the middle, its rise over the window, and the standard
    errors of both.
    """

    level: float
    level_error: float
    rise: float
    rise_error: float


def line_through(window: Sequence[Evaluation]) -> Line:
    """Least squares; the noise of one evaluation is what its episodes say or what the points do, whichever is more."""
    updates, success = (np.array([getattr(one, name) for one in window], float) for name in ("updates", "success"))
    away, span = updates - updates.mean(), updates[-1] - updates[0]
    slope = float(away @ success / (away @ away))
    residual = success - success.mean() - slope * away
    episodes = sum(one.episodes for one in window)
    share = (_successes(window) + 1) / (episodes + 2)
    by_episodes = math.sqrt(share * (1 - share) * len(window) / episodes)
    noise = max(by_episodes, math.sqrt(float(residual @ residual) / (len(window) - 2)))
    rise_error = noise * span / math.sqrt(float(away @ away))
    return Line(float(success.mean()), noise / math.sqrt(len(window)), slope * span, rise_error)


def by_depth(evaluations: Iterable[Evaluation]) -> list[list[Evaluation]]:
    """The evaluations of every depth, in their order."""
    return [list(stage) for _, stage in groupby(evaluations, key=lambda one: one.depth)]


def decide(evaluations: Sequence[Evaluation], *, max_depth: int) -> Decision:
    """What the newest of the evaluations asks for. What has stopped never grows again, whatever comes later."""
    *earlier, now = by_depth(evaluations)
    decision = Decision("stay", "")
    for seen in range(1, len(now) + 1):
        decision = _verdict(earlier, now[:seen], max_depth)
        if decision.verdict != "stay":
            break
    return decision


def on_schedule(evaluations: Sequence[Evaluation], grow_at: Sequence[int]) -> Decision:
    """Doubling at given updates, whatever the success."""
    done = len(by_depth(evaluations)) - 1
    if done < len(grow_at) and evaluations[-1].updates >= grow_at[done]:
        return Decision("grow", f"as asked for at {grow_at[done]} updates")
    return Decision("stay", "as asked for")


def _verdict(earlier: list[list[Evaluation]], now: list[Evaluation], max_depth: int) -> Decision:
    depth = now[0].depth
    if 2 * depth > max_depth:
        return Decision("stop", f"--max-depth {max_depth} allows no more")
    if len(now) < WINDOW:
        return Decision("stay", "too few evaluations to tell")
    window = now[-WINDOW:]
    line = line_through(window)
    if line.rise > RISE_ERRORS * line.rise_error:
        return Decision("stay", "success still rises")
    if wilson(_successes(window), sum(one.episodes for one in window), _CONFIDENCE)[1] < NOTHING_LEARNT:
        return Decision("stay", "nothing has been learnt yet")
    if 1 - line.level < SMALLEST_GAIN:
        return Decision("stop", f"{line.level:.0%} leaves nothing to gain")
    if not earlier:
        return Decision("grow", f"success has stopped rising at {line.level:.0%}")
    return _judged(earlier, now, line)


def _judged(earlier: list[list[Evaluation]], now: list[Evaluation], line: Line) -> Decision:
    """Whether the doubling that led to `now` has paid, once its success rises no more."""
    before = line_through(earlier[-1][-WINDOW:])
    promised = min(1.0, before.level + max(0.0, before.rise))
    error = GAIN_ERRORS * math.hypot(line.level_error, before.level_error)
    numbers = f"{line.level:.0%} where depth {earlier[-1][0].depth} promised {promised:.0%}"
    if line.level - promised > max(error, SMALLEST_GAIN):
        return Decision("grow", f"the last doubling paid, {numbers}, and success has stopped rising")
    begun = earlier[-1][-1].updates
    budget = begun - (earlier[-2][-1].updates if len(earlier) > 1 else 0)
    if 2 * (now[-1].updates - begun) >= budget:
        return Decision("stop", f"the last doubling did not pay, {numbers}")
    return Decision("stay", "the last doubling has not had the work of the depth before")


def _successes(window: Sequence[Evaluation]) -> int:
    return round(sum(one.success * one.episodes for one in window))
