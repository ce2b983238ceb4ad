from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import yaml

from sim2real.contract.mirror import in_a_mirror
from sim2real.errors import ContractMismatch, ShoalError
from teacher.learner import half_mirrored
from teacher.run.checkpoint import Checkpoints, to_host
from teacher.run.folder import RunFolder
from teacher.train import Trainer
from teacher.trained import load_teacher
from tests.teacher.tiny import TIMING_FIELDS, contract, tiny_config


def rows_without_timing(run: Path) -> list[dict[str, float]]:
    rows = RunFolder(run).read_metrics()
    return [{name: value for name, value in row.items() if name not in TIMING_FIELDS} for row in rows]


def last_checkpoint(run: Path, like: Trainer) -> Any:
    """Networks, optimisers, replay and environment of a run's newest checkpoint."""
    checkpoints = Checkpoints(run / "checkpoints", keep=2)
    return checkpoints.restore(learner=to_host(like.state)._asdict(), world=to_host(like._world()))


class Stopped(Exception):
    """Stands for the end of a process."""


def stop_after(trainer: Trainer, rounds: int) -> None:
    """Run until `rounds` rounds are done and die before the next."""
    one_round = trainer._one_round

    def dying() -> dict[str, float]:
        if trainer.round == rounds:
            raise Stopped
        return one_round()

    trainer._one_round = dying  # type: ignore[method-assign]
    with pytest.raises(Stopped):
        trainer.train()


def test_run_leaves_config_contract_metrics_summary_and_curves(teacher_run: Path) -> None:
    config, rows = tiny_config(), RunFolder(teacher_run).read_metrics()
    assert yaml.safe_load((teacher_run / "config.yaml").read_text()) == config.model_dump(mode="json")
    assert RunFolder(teacher_run).contract() == contract()
    assert [row["round"] for row in rows] == [1, 2, 3, 4]
    assert [row["updates"] for row in rows] == [5, 10, 15, 20]
    assert [row["environment_steps"] for row in rows] == [360, 480, 600, 720]  # two rollouts fill the replay first
    assert all(math.isfinite(value) for row in rows for value in row.values())
    summary = json.loads((teacher_run / "summary.json").read_text())
    assert summary["contract_sha256"] == contract().digest
    assert (summary["actor_depth"], summary["width"], summary["episodes"]) == (4, 16, 4)
    assert (teacher_run / "evaluation.gif").is_file()
    assert (teacher_run / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert any((teacher_run / "tensorboard").iterdir())


def test_evaluation_and_checkpoints_follow_their_intervals(teacher_run: Path) -> None:
    assert all("success_coarse" in row for row in RunFolder(teacher_run).read_metrics())
    assert Checkpoints(teacher_run / "checkpoints", keep=2).latest == 4
    assert sorted(p.name for p in (teacher_run / "checkpoints").iterdir()) == ["2", "4"]


def test_run_that_died_between_checkpoints_ends_as_if_it_had_not(teacher_run: Path, tmp_path: Path) -> None:
    """Bit for bit: networks, optimisers, replay, environment, and every metric but the timings."""
    folder = RunFolder(tmp_path / "run")
    stop_after(Trainer(tiny_config(), folder), 3)
    assert len(folder.read_metrics()) == 3
    resumed = Trainer(tiny_config(), folder, resume=True)
    assert resumed.round == 2
    resumed.train()
    assert rows_without_timing(folder.path) == rows_without_timing(teacher_run)
    left, right = (last_checkpoint(run, resumed) for run in (folder.path, teacher_run))
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(left)]
    for path, a, b in zip(paths, jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=path)


def test_run_that_died_before_its_first_checkpoint_starts_again(tmp_path: Path, teacher_run: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.start(tiny_config(), contract())
    shutil.copy(teacher_run / "metrics.jsonl", folder.path)
    trainer = Trainer(tiny_config(), folder, resume=True)
    assert trainer.round == 0
    stop_after(trainer, 1)
    assert rows_without_timing(folder.path) == rows_without_timing(teacher_run)[:1]


def test_non_finite_metric_stops_the_run_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    trainer = Trainer(tiny_config(), folder)
    save = trainer._save

    def save_then_poison() -> None:
        save()
        trainer.state = trainer.state._replace(critic=jax.tree.map(lambda leaf: leaf * np.nan, trainer.state.critic))

    trainer._save = save_then_poison  # type: ignore[method-assign]
    with pytest.raises(ShoalError, match=r"round 3: .*critic_loss.* non-finite.*checkpoints"):
        trainer.train()
    assert len(folder.read_metrics()) == 2
    teacher = load_teacher(folder.path)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((teacher.actor, teacher.critic)))


def test_weights_that_are_not_finite_never_reach_a_checkpoint(tmp_path: Path) -> None:
    """Metrics are means from before the last update, so they can still look well."""
    folder = RunFolder(tmp_path / "run")
    trainer = Trainer(tiny_config(), folder)
    update_many = trainer._update_many

    def poisoned(*arguments: Any) -> Any:
        state, metrics = update_many(*arguments)
        if trainer.round == 2:
            optimizer = jax.tree.map(lambda leaf: leaf * np.nan if leaf.ndim else leaf, state.optimizer)
            state = state._replace(optimizer=optimizer)
        return state, metrics

    trainer._update_many = poisoned
    with pytest.raises(ShoalError, match=r"round 3: the weights became non-finite; the checkpoint of round 2 is kept"):
        trainer.train()
    assert trainer.checkpoints.latest == 2


def test_divergence_stops_the_run_with_a_sentence(tmp_path: Path) -> None:
    learner = tiny_config().learner.model_copy(update={"max_loss": 1e-3})
    trainer = Trainer(tiny_config(learner=learner.model_dump()), RunFolder(tmp_path / "run"))
    with pytest.raises(
        ShoalError, match=r"round 1: critic_loss .* beyond max_loss 0\.001, .* no checkpoint was written"
    ):
        trainer.train()


def test_without_a_saved_replay_a_resumed_run_fills_it_again(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    config = tiny_config(save_replay=False)
    stop_after(Trainer(config, folder), 3)
    resumed = Trainer(config, folder, resume=True)
    assert resumed.round == 2
    assert int(resumed.replay.head) == config.prefill_rollouts * config.rollout_steps
    with np.load(folder.checkpoints / "2" / "world.npz") as world:
        assert not [name for name in world if name.startswith("replay")]
    resumed.train()
    assert [row["round"] for row in folder.read_metrics()] == [1, 2, 3, 4]


@pytest.mark.slow
def test_a_run_with_robots_that_differ_resumes_to_the_same_numbers(tmp_path: Path) -> None:
    config = tiny_config(randomisation="hard", updates=15)
    whole, cut = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "cut")
    Trainer(config, whole).train()
    stop_after(Trainer(config, cut), 2)
    Trainer(config, cut, resume=True).train()
    assert rows_without_timing(whole.path) == rows_without_timing(cut.path)


def test_unknown_randomisation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ShoalError, match="'wild' is neither a preset"):
        Trainer(tiny_config(randomisation="wild"), RunFolder(tmp_path / "run"))


def test_folder_that_holds_a_run_is_refused(teacher_run: Path) -> None:
    with pytest.raises(ShoalError, match="holds a run already; continue it with --resume"):
        Trainer(tiny_config(), RunFolder(teacher_run))


def changed_contract(teacher_run: Path, tmp_path: Path) -> Path:
    """A copy of the run whose robot had another gain."""
    run = shutil.copytree(teacher_run, tmp_path / "run")
    data = json.loads((run / "contract.json").read_text())
    data["robot"]["joints"][2]["stiffness"] = 123.5
    (run / "contract.json").write_text(json.dumps(data))
    return run


@pytest.mark.parametrize("use", ["resume", "load"])
def test_run_of_another_robot_is_refused_naming_the_field(use: str, teacher_run: Path, tmp_path: Path) -> None:
    run = changed_contract(teacher_run, tmp_path)
    today = contract().robot.joints[2].stiffness
    with pytest.raises(ContractMismatch, match=rf"robot\.joints\[2\]\.stiffness: 123\.5 in .*{today}"):
        Trainer(tiny_config(), RunFolder(run), resume=True) if use == "resume" else load_teacher(run)


def test_loaded_teacher_is_the_one_that_was_trained(teacher_run: Path) -> None:
    teacher = load_teacher(teacher_run)
    assert teacher.contract == contract()
    assert teacher.parameters == json.loads((teacher_run / "summary.json").read_text())["parameters"]
    mean, log_std, features = teacher.networks.act(teacher.actor, np.zeros((3, 30)), np.zeros((3, 9)))
    assert (mean.shape, log_std.shape, features.shape) == ((3, 7), (3, 7), (3, 16))


def test_a_run_learns_from_both_sides(tmp_path: Path) -> None:
    batches = []
    for mirrored in (True, False):
        config = tiny_config(task="quadruped_walk", mirror=mirrored, eval_envs=1)
        trainer = Trainer(config, RunFolder(tmp_path / str(mirrored)))
        trainer._prefill()
        batches.append(trainer.learner.sample(trainer.replay, jax.random.key(0)))
    mirror = in_a_mirror(trainer.task.teacher_contract, trainer.task.scene)
    jax.tree.map(np.testing.assert_allclose, batches[0], half_mirrored(batches[1], mirror))
    assert np.abs(batches[0].observation - batches[1].observation).max() > 0.1


def test_an_arm_without_sides_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ShoalError, match=r"mirror: at home, fr3_joint1, .* have no counterpart"):
        Trainer(tiny_config(mirror=True), RunFolder(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
