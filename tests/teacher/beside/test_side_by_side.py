from __future__ import annotations

import threading
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
from teacher.train import Trainer, load_teacher
from tests.teacher.test_learner import smooth_rollout
from tests.teacher.tiny import LEARNER, NETWORK, contract, tiny_config

COUNT = 7


@pytest.fixture(scope="module")
def buffer() -> replay.Replay:
    sizes = {"observation": observation_size(contract()), "goal": goal_size(contract()), "action": 7}
    return replay.insert(replay.create(capacity=60, num_envs=4, **sizes), smooth_rollout())


def make_learner(**changes: Any) -> Learner:
    return Learner(contract(), NETWORK, LEARNER.model_copy(update=changes), total_updates=1000)


@pytest.mark.parametrize(
    "changes",
    [{}, {"update_order": "critic_first", "polyak": 0.5}, {"objective": "chrono"}],
    ids=["simultaneous", "critic_first", "chrono"],
)
def test_the_numbers_are_those_of_one_program(changes: dict[str, Any], buffer: replay.Replay) -> None:
    learner, key = make_learner(**changes), jax.random.key(1)
    expected, metrics = learner.update_many(learner.init(jax.random.key(0)), buffer, key, COUNT)
    state, same = SideBySide(learner).update_many(learner.init(jax.random.key(0)), buffer, key, COUNT)
    assert jax.tree.structure(state) == jax.tree.structure(expected)
    # Both are the same operations, which XLA may fuse in another way.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), state, expected)
    assert {name: float(value) for name, value in same.items()} == pytest.approx(
        {name: float(value) for name, value in metrics.items()}, rel=1e-4
    )


def test_it_is_the_same_at_every_call_whoever_comes_first(buffer: replay.Replay) -> None:
    """The critic goes on with its next update while the actor's waits."""
    learner = make_learner()
    side_by_side = SideBySide(learner)
    expected, _ = side_by_side.update_many(learner.init(jax.random.key(0)), buffer, jax.random.key(1), COUNT)
    compiled = [f._cache_size() for f in (SideBySide._update_critic, SideBySide._update_actor)]  # type: ignore[attr-defined]
    update_actor, calls = side_by_side._update_actor, []

    def late(*arguments: Any) -> Any:
        calls.append(threading.current_thread().name)
        threading.Event().wait(0.05)
        return update_actor(*arguments)

    side_by_side._update_actor = late  # type: ignore[method-assign]
    given = learner.init(jax.random.key(0))
    state, _ = side_by_side.update_many(given, buffer, jax.random.key(1), COUNT)
    jax.tree.map(np.testing.assert_array_equal, state, expected)
    assert len(calls) == COUNT
    assert threading.current_thread().name not in calls
    assert compiled == [f._cache_size() for f in (SideBySide._update_critic, SideBySide._update_actor)]  # type: ignore[attr-defined]
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves((given.actor, given.optimizer)))  # no second copies


def test_the_actors_error_ends_the_call(buffer: replay.Replay) -> None:
    learner = make_learner()
    side_by_side = SideBySide(learner)

    def broken(*_: Any) -> Any:
        raise FloatingPointError("of the actor")

    side_by_side._update_actor = broken  # type: ignore[method-assign]
    with pytest.raises(FloatingPointError, match="of the actor"):
        side_by_side.update_many(learner.init(jax.random.key(0)), buffer, jax.random.key(1), COUNT)


def test_it_is_for_one_device() -> None:
    with pytest.raises(ShoalError, match="side_by_side is for one device, and devices is 2; leave one of them out"):
        tiny_config(side_by_side=True, devices=2)


def test_a_run_compiles_each_program_once(tmp_path: Path) -> None:
    """Whatever the state is placed by, before its first update and after."""
    programs = SideBySide._update_critic, SideBySide._update_actor
    before = [f._cache_size() for f in programs]  # type: ignore[attr-defined]
    Trainer(tiny_config(side_by_side=True), RunFolder(tmp_path / "run")).train()
    assert [f._cache_size() for f in programs] == [count + 1 for count in before]  # type: ignore[attr-defined]


def test_a_run_that_was_interrupted_ends_with_the_same_numbers(tmp_path: Path) -> None:
    whole, cut = (RunFolder(tmp_path / name) for name in ("whole", "cut"))
    config = tiny_config(side_by_side=True)
    Trainer(config, whole).train()
    assert Trainer(config, cut).train(until=0.0) is None
    Trainer(config, cut, resume=True).train()
    left, right = load_teacher(whole.path), load_teacher(cut.path)
    assert left.digest == right.digest
