from __future__ import annotations

import threading
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from sim2real.contract.interface import goal_size, observation_size
from sim2real.errors import ShoalError
from teacher import replay
from teacher.beside.side_by_side import SideBySide
from teacher.learner import Learner
from teacher.run.folder import RunFolder
from teacher.train import Trainer
from teacher.trained import load_teacher
from tests.teacher.test_learner import smooth_rollout
from tests.teacher.tiny import LEARNER, NETWORK, contract, tiny_config

COUNT = 7


@pytest.fixture(scope="module")
def buffer() -> replay.Replay:
    sizes = {"observation": observation_size(contract()), "goal": goal_size(contract()), "action": 7}
    return replay.insert(replay.create(capacity=60, num_envs=4, **sizes), smooth_rollout())


@cache
def make_both(**changes: Any) -> tuple[Learner, SideBySide]:
    """The same for the same changes, because another learner's programs would be compiled anew."""
    learner = Learner(contract(), NETWORK, LEARNER.model_copy(update=changes), total_updates=1000)
    return learner, SideBySide(learner)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, list[int]]:
    """A finished run, and how many programs it compiled for critic and actor."""
    programs = SideBySide._update_critic, SideBySide._update_actor
    before = [f._cache_size() for f in programs]  # type: ignore[attr-defined]
    folder = RunFolder(tmp_path_factory.mktemp("side_by_side") / "whole")
    Trainer(tiny_config(side_by_side=True), folder).train()
    return folder, [f._cache_size() - count for f, count in zip(programs, before, strict=True)]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "changes",
    [{}, {"update_order": "critic_first", "polyak": 0.5, "objective": "chrono"}],
    ids=["simultaneous", "critic_first"],
)
def test_the_numbers_are_those_of_one_program(changes: dict[str, Any], buffer: replay.Replay) -> None:
    (learner, side_by_side), key = make_both(**changes), jax.random.key(1)
    expected, metrics = learner.update_many(learner.init(jax.random.key(0)), buffer, key, COUNT)
    state, same = side_by_side.update_many(learner.init(jax.random.key(0)), buffer, key, COUNT)
    assert jax.tree.structure(state) == jax.tree.structure(expected)
    # Both are the same operations, which XLA may fuse in another way.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), state, expected)
    assert {name: float(value) for name, value in same.items()} == pytest.approx(
        {name: float(value) for name, value in metrics.items()}, rel=1e-4
    )


def test_it_is_the_same_at_every_call_whoever_comes_first(
    buffer: replay.Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The critic goes on with its next update while the actor's waits."""
    learner, side_by_side = make_both()
    expected, _ = side_by_side.update_many(learner.init(jax.random.key(0)), buffer, jax.random.key(1), COUNT)
    compiled = [f._cache_size() for f in (SideBySide._update_critic, SideBySide._update_actor)]  # type: ignore[attr-defined]
    update_actor, calls = side_by_side._update_actor, []

    def late(*arguments: Any) -> Any:
        calls.append(threading.current_thread().name)
        threading.Event().wait(0.05)
        return update_actor(*arguments)

    monkeypatch.setattr(side_by_side, "_update_actor", late)
    given = learner.init(jax.random.key(0))
    state, _ = side_by_side.update_many(given, buffer, jax.random.key(1), COUNT)
    jax.tree.map(np.testing.assert_array_equal, state, expected)
    assert len(calls) == COUNT
    assert threading.current_thread().name not in calls
    assert compiled == [f._cache_size() for f in (SideBySide._update_critic, SideBySide._update_actor)]  # type: ignore[attr-defined]
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves((given.actor, given.optimizer)))  # no second copies


def test_the_actors_error_ends_the_call(buffer: replay.Replay, monkeypatch: pytest.MonkeyPatch) -> None:
    learner, side_by_side = make_both()

    def broken(*_: Any) -> Any:
        raise FloatingPointError("of the actor")

    monkeypatch.setattr(side_by_side, "_update_actor", broken)
    with pytest.raises(FloatingPointError, match="of the actor"):
        side_by_side.update_many(learner.init(jax.random.key(0)), buffer, jax.random.key(1), COUNT)


def test_it_is_for_one_device() -> None:
    with pytest.raises(ShoalError, match="side_by_side is for one device, and devices is 2; leave one of them out"):
        tiny_config(side_by_side=True, devices=2)


def test_a_run_compiles_each_program_once(whole: tuple[RunFolder, list[int]]) -> None:
    """Whatever the state is placed by, before its first update and after."""
    assert whole[1] == [1, 1]


def test_a_run_that_was_interrupted_ends_with_the_same_numbers(
    whole: tuple[RunFolder, list[int]], tmp_path: Path
) -> None:
    cut, config = RunFolder(tmp_path), tiny_config(side_by_side=True)
    assert Trainer(config, cut).train(until=0.0) is None
    Trainer(config, cut, resume=True).train()
    assert load_teacher(whole[0].path).digest == load_teacher(cut.path).digest
