from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from sim2real.backends.base import Rollout
from sim2real.errors import ShoalError
from teacher.exploration import Collector
from teacher.learner import Learner
from teacher.run.folder import RunFolder
from teacher.train import Trainer
from teacher.trained import load_teacher
from tests.teacher.tiny import TIMING_FIELDS, tiny_config

CONFIG = tiny_config(collect_ahead=True)
ROLLOUT = Collector.rollout


def learnt(folder: RunFolder) -> list[dict[str, Any]]:
    rows = folder.read_metrics()
    return [{name: value for name, value in row.items() if name not in TIMING_FIELDS} for row in rows]


def collects_by(monkeypatch: pytest.MonkeyPatch, before: Any) -> None:
    """Collection calls `before(actor)` first."""

    def collect(self: Collector, actor: Any, *arguments: Any) -> Rollout:
        before(actor)
        return ROLLOUT(self, actor, *arguments)

    monkeypatch.setattr(Collector, "rollout", collect)


def beside() -> bool:
    return threading.current_thread() is not threading.main_thread()


def test_it_collects_during_the_updates_by_the_policy_from_before_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the first round, neither updates nor collection can come to an end before the other has begun."""
    collecting, updating, update_many = threading.Event(), threading.Event(), Learner.update_many
    collected_by: list[Any] = []
    begun_with: list[Any] = []

    def collect(actor: Any) -> None:
        collected_by.append(jax.tree.map(np.array, actor))
        if beside():
            collecting.set()
            assert updating.wait(60)

    def update(self: Learner, state: Any, *arguments: Any) -> Any:
        begun_with.append(jax.tree.map(np.array, state.actor))
        updating.set()
        assert collecting.wait(60)
        return update_many(self, state, *arguments)

    collects_by(monkeypatch, collect)
    monkeypatch.setattr(Learner, "update_many", update)
    Trainer(CONFIG, RunFolder(tmp_path / "run")).train()
    # Two rollouts fill the replay and one is the first round's, all by the first actor.
    expected = [begun_with[0]] * 3 + begun_with
    assert len(collected_by) == len(expected)
    for actor, before in zip(collected_by, expected, strict=True):
        jax.tree.map(np.testing.assert_array_equal, actor, before)


def test_the_numbers_depend_neither_on_who_is_first_nor_on_interruptions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut = (RunFolder(tmp_path / name) for name in ("whole", "cut"))
    Trainer(CONFIG, whole).train()
    collects_by(monkeypatch, lambda _: threading.Event().wait(0.2) if beside() else None)
    assert Trainer(CONFIG, cut).train(until=0.0) is None
    Trainer(CONFIG, cut, resume=True).train()
    assert load_teacher(cut.path).digest == load_teacher(whole.path).digest
    assert learnt(cut) == learnt(whole)


def test_an_error_of_the_thread_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Any) -> None:
        if beside():
            raise FloatingPointError("of the simulation")

    collects_by(monkeypatch, broken)
    with pytest.raises(FloatingPointError, match="of the simulation"):
        Trainer(CONFIG, RunFolder(tmp_path / "run")).train()


def test_it_is_for_cpus_and_one_device(tmp_path: Path) -> None:
    with pytest.raises(ShoalError, match="collect_ahead is for one device, and devices is 2; leave one of them out"):
        tiny_config(collect_ahead=True, devices=2)
    with pytest.raises(ShoalError, match="collect_ahead simulates on CPUs beside the updates; give --backend native"):
        Trainer(tiny_config(collect_ahead=True, backend="mjx"), RunFolder(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
