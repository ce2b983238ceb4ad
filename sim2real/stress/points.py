"""Measured points: success under one setting, with its interval, kept so that a run that was interrupted goes on.

The number of episodes of a point is not fixed: it doubles from `episodes_first` to `episodes_max` until the interval
lies on one side of the level. Each look is made at a confidence that lets all of them together hold with the
confidence stated (Bonferroni). Intervals are Wilson's (1927).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sim2real.errors import ShoalError
from sim2real.evaluation.intervals import wilson
from sim2real.randomisation.config import Randomisation
from sim2real.stress.config import Precision
from sim2real.stress.episodes import Stand

Side = Literal["above", "below", "open"]
Successes = Callable[[Randomisation, int, int], np.ndarray]
"""`(setting, first, count) -> [count] bool`."""


@dataclass(frozen=True)
class Point:
    """Success under one setting."""

    successes: int
    episodes: int
    low: float
    high: float
    """Of the interval, at the confidence stated, all looks together."""
    side: Side
    """Of the level that was asked about; `open` where the interval still contains it."""

    @property
    def success(self) -> float:
        """Share of episodes."""
        return self.successes / self.episodes


def stages(precision: Precision) -> list[int]:
    """Numbers of episodes after which a point is looked at."""
    counts = [precision.episodes_first]
    while counts[-1] < precision.episodes_max:
        counts.append(min(2 * counts[-1], precision.episodes_max))
    return counts


def decide(run: Successes, setting: Randomisation, level: float, precision: Precision) -> Point:
    """Fly episodes until success is known to be above or below `level`, or `episodes_max` are flown."""
    looks = stages(precision)
    confidence = 1 - (1 - precision.confidence) / len(looks)
    successes, episodes, point = 0, 0, None
    for count in looks:
        successes += int(run(setting, episodes, count - episodes).sum())
        episodes = count
        low, high = wilson(successes, episodes, confidence)
        side: Side = "above" if low >= level else "below" if high < level else "open"
        point = Point(successes, episodes, low, high, side)
        if side != "open":
            break
    assert point is not None
    return point


class Kept:
    """`Successes` that remembers: one JSON line for each block of episodes ever flown.

    Blocks of another policy file, task, or seed are left alone and not used.
    """

    def __init__(
        self, stand: Stand, path: Path, *, seed: int, progress: Callable[[int], None] = lambda episodes: None
    ) -> None:
        contents = hashlib.sha256(stand.model.read_bytes()).hexdigest()
        self._of = f"{contents} {stand.task.contract.digest} {seed} {stand.episodes}"
        self._stand, self._path, self._progress = stand, path, progress
        self._known = _read_lines(path)
        self._used: set[str] = set()
        self.episodes = 0
        """All that were asked for so far, flown now or before, each counted once."""

    def __call__(self, setting: Randomisation, first: int, count: int) -> np.ndarray:
        """See `Successes`."""
        key = self._key(setting, first, count)
        if key not in self._known:
            reached = self._stand.successes(setting, first=first, count=count)
            self._known[key] = "".join("1" if value else "0" for value in reached)
            self._append({"key": key, "reached": self._known[key]})
        if key not in self._used:
            self._used.add(key)
            self.episodes += count
            self._progress(self.episodes)
        return np.array([character == "1" for character in self._known[key]])

    def _key(self, setting: Randomisation, first: int, count: int) -> str:
        terms = json.dumps(setting.model_dump(mode="json", include=set(setting.active)), sort_keys=True)
        return hashlib.sha256(f"{self._of} {terms} {first} {count}".encode()).hexdigest()[:24]

    def _append(self, line: dict[str, Any]) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise ShoalError(f"cannot write {self._path}: {error.strerror or error}.") from error


def _read_lines(path: Path) -> dict[str, str]:
    known: dict[str, str] = {}
    if not path.is_file():
        return known
    text = path.read_text()
    if text and not text.endswith("\n"):
        # Whoever was killed in the middle of a line must not spoil the next one.
        text = text[: text.rfind("\n") + 1]
        path.write_text(text)
    for number, line in enumerate(text.splitlines(), 1):
        try:
            entry = json.loads(line)
            known[str(entry["key"])] = str(entry["reached"])
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ShoalError(f"{path}, line {number}: no point of a stress test; move the file away.") from error
    return known
