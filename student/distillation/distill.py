"""Distillation: visit states, have the teacher label them, learn from everything seen so far, and again."""

from __future__ import annotations

import math
import shutil
import time
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sim2real.backends import make_environment, resolve
from sim2real.backends.base import Environment
from sim2real.contract.interface import goal_size, observation_size
from sim2real.errors import ShoalError
from sim2real.evaluation.record import EvaluationRecord
from sim2real.evaluation.success import Score
from sim2real.progress import Progress
from sim2real.randomisation.config import Randomisation, load_randomisation
from sim2real.tasks.goal_pool import EVALUATION_SEED_OFFSET
from sim2real.tasks.task import Task
from student.config import DistillConfig
from student.distillation import dataset
from student.distillation.collect import Collector
from student.distillation.demonstrations import States, states_of
from student.distillation.objective import Objective
from student.distillation.reachability import fit_reachability
from student.history import as_teacher, remembering
from student.network import Projections, StudentParams
from student.policy import greedy, make_policy, student_inputs, student_observation_size
from teacher.networks import count_parameters
from teacher.policies import best_of
from teacher.policies import greedy as teacher_greedy
from teacher.run.checkpoint import Checkpoints, to_host
from teacher.run.folder import MetricsLog, RunFolder, status_of
from teacher.run.plots import plot_curves
from teacher.trained import Teacher, evaluate

TRAINING = "training"
"""Folder inside a run's of what only an interrupted run needs; a finished one has none."""


class _State(NamedTuple):
    policy: Any
    projections: Any
    optimizer: Any


class Distiller:
    """One distillation run of a loaded teacher into a folder.

    With `resume` it goes on from the newest checkpoint there, to the same numbers as a run that was not interrupted.
    """

    def __init__(
        self,
        teacher: Teacher,
        config: DistillConfig,
        folder: RunFolder,
        *,
        resume: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self.teacher, self.config, self.folder = teacher, config, folder
        self.progress = progress or Progress("student", quiet=True)
        self.elapsed_s = 0.0
        """What the rounds so far took."""
        self.contract = teacher.contract
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((teacher.actor, teacher.critic))):
            raise ShoalError("teacher: its weights are not finite; distil from an earlier checkpoint or train again.")
        self.progress.doing(f"preparing {config.num_envs} environments")
        self.policy = make_policy(self.contract, config.student)
        self.apply = greedy(self.contract, self.policy)
        network = teacher.config.network
        projections = Projections(
            {"features": network.width, "phi": network.embedding_size, "psi": network.embedding_size}
        )
        self.objective = Objective(self.policy, projections, config)
        self._updates = config.rounds * config.updates_per_round
        self.optimizer = optax.adam(optax.cosine_decay_schedule(config.learning_rate, self._updates, 0.01))
        shares = {"continue_share": config.continue_share, "wide_start_share": config.wide_start_share}
        self.collector = Collector(
            teacher,
            self.apply,
            self._environment(config.num_envs, config.seed, true_too=config.true_labels, **shares),
            config,
        )
        self.eval_env = evaluation_environment(teacher, config)
        self._demonstrated: States | None = None
        if config.demonstrations:
            states = states_of(config.demonstrations, teacher, config.student.history_steps)
            self._demonstrated = States(*(part[:, None] for part in states))
        self.round = 0
        self.state = self._init(jax.random.key(config.seed))
        self.data = self._empty_dataset()
        self.checkpoints = Checkpoints(folder.path / TRAINING, keep=2)
        if resume and self.checkpoints.latest is not None:
            self._restore()

    def _environment(self, num_envs: int, seed: int, *, true_too: bool = False, **settings: Any) -> Any:
        return _make_environment(self.teacher, self.config, num_envs, seed, true_too=true_too, **settings)

    def train(self, *, until: int | None = None) -> None:
        """All rounds that are left, or up to round `until`."""
        config, last, progress = self.config, until or self.config.rounds, self.progress
        progress.expect(config.rounds, done=self.round)
        progress.doing("compiling, then updating")
        with MetricsLog(self.folder, resume_round=self.round or None) as log:
            before_s = log.elapsed_s - time.monotonic()
            while self.round < last:
                started = time.monotonic()
                row = self._round(self.round)
                row["round_s"] = time.monotonic() - started
                self.round += 1
                row |= {"round": self.round, "updates": self.round * config.updates_per_round}
                evaluated = self.round % config.eval_every_rounds == 0 or self.round == config.rounds
                if evaluated:
                    row |= evaluate(self.eval_env, self.apply, self.state.policy).as_dict()
                self.elapsed_s = before_s + time.monotonic()
                log.append(row | {"elapsed_s": self.elapsed_s})
                if self.round % config.checkpoint_every_rounds == 0 and self.round < config.rounds:
                    self.checkpoints.save(
                        self.round, learner=to_host(self.state._asdict()), world=to_host(self._world())
                    )
                progress.advance(status_of(row), line=evaluated)

    def run(self) -> tuple[StudentParams, Score]:
        """Distil, fit and calibrate the reachability head, write summary and curves."""
        self.train()
        trained = time.monotonic()
        self.progress.doing("evaluating")
        student = evaluate(self.eval_env, self.apply, self.state.policy)
        self.progress.doing("fitting the reachability head")
        head = fit_reachability(
            self.contract,
            self.policy,
            self.state.policy,
            self.config,
            value=self._value,
            environment=lambda count, seed: self._environment(
                count, seed, out_of_distribution_goal_share=self.config.out_of_distribution_goal_share
            ),
        )
        self.contract = self.contract.model_copy(update={"reachability": head.calibration})
        self._write(student, head.report, self.elapsed_s + time.monotonic() - trained)
        return StudentParams(self.state.policy, head.params), student

    def _value(self, observation: jax.Array, goal: jax.Array, action: jax.Array) -> jax.Array:
        """What the teacher's critic thinks of actions `[B, J]`, followed by the rest of the actor's chunk, `[B]`."""
        teacher, networks = self.teacher, self.teacher.networks
        if teacher.config.learner.action_chunk > 1:
            rest = jnp.tanh(networks.act(teacher.actor, observation, goal)[0][..., networks.joints :])
            action = jnp.concatenate([action, rest], axis=-1)
        return networks.value(teacher.critic, observation, goal, action)

    def forget_training_state(self) -> None:
        """Remove what only an interrupted run needs; call it once the student is saved."""
        shutil.rmtree(self.folder.path / TRAINING, ignore_errors=True)

    def _round(self, number: int) -> dict[str, float]:
        self.data = _insert(self.data, *self.collector.visit(self.state.policy, number))
        if self._demonstrated is not None:
            key = jax.random.fold_in(jax.random.key(self.config.seed + 3), number)
            inputs, labels, _ = self.collector.label(self.state.policy, *self._demonstrated, key)
            self.data = _insert(self.data, inputs, labels)
        key = jax.random.fold_in(jax.random.key(self.config.seed + 2), number)
        self.state, metrics = self._update_many(self.state, self.data, key, number)
        row = {name: float(value) for name, value in metrics.items()}
        if not all(math.isfinite(value) for value in row.values()):
            raise ShoalError(f"round {number + 1}: the loss became non-finite; lower the learning rate.")
        return row | {"beta": self.collector.beta(number)}

    @partial(jax.jit, static_argnums=0)  # one program instead of dozens
    def _init(self, key: jax.Array) -> _State:
        policy_key, projection_key = jax.random.split(key)
        observation, goal = (jnp.zeros((1, size)) for size in self._sizes())
        inputs = student_inputs(self.contract, self.config.student, observation, goal)
        policy = self.policy.init(policy_key, inputs)
        features = jnp.zeros((1, self.config.student.hidden_width))
        projections = self.objective.projections.init(projection_key, features)
        return _State(policy, projections, self.optimizer.init((policy, projections)))

    def _sizes(self) -> tuple[int, int]:
        """Sizes of the student's observations, history and what only the teacher sees included, and of goal vectors."""
        judged = self.teacher.networks.contract
        more = observation_size(judged) if judged.readings != self.contract.readings else 0
        return student_observation_size(self.contract, self.config.student) + more, goal_size(self.contract)

    def _empty_dataset(self) -> dataset.Dataset:
        shapes = [jnp.zeros((1, 1, size)) for size in self._sizes()]
        inputs, labels, _ = jax.eval_shape(
            lambda policy, *x: self.collector.label(policy, *x, jax.random.key(0)), self.state.policy, *shapes
        )
        return dataset.create(capacity=self.config.dataset_size, inputs=inputs, labels=labels)

    @partial(jax.jit, static_argnums=0, donate_argnums=1)
    def _update_many(
        self, state: _State, data: dataset.Dataset, key: jax.Array, number: jax.Array
    ) -> tuple[_State, dict[str, jax.Array]]:
        """The updates of one round; metrics are means, gradient norms those of the round's last batch."""
        config = self.config

        def one(state: _State, xs: tuple[jax.Array, jax.Array]) -> tuple[_State, dict[str, jax.Array]]:
            key, progress = xs
            inputs, labels = dataset.sample(data, key, config.batch_size)
            parts = (state.policy, state.projections)
            gradient, metrics = jax.grad(self.objective.loss, has_aux=True)(parts, inputs, labels, progress)
            updates, optimizer = self.optimizer.update(gradient, state.optimizer, parts)
            policy, projections = cast(tuple[Any, Any], optax.apply_updates(parts, updates))
            return _State(policy, projections, optimizer), metrics

        keys = jax.random.split(key, config.updates_per_round)
        progress = (number * config.updates_per_round + jnp.arange(config.updates_per_round)) / self._updates
        state, metrics = jax.lax.scan(one, state, (keys, progress))
        last = dataset.sample(data, keys[-1], config.batch_size)
        norms = self.objective.gradient_norms((state.policy, state.projections), *last, progress[-1])
        return state, jax.tree.map(jnp.mean, metrics) | norms

    def _world(self) -> dict[str, Any]:
        return {
            "collector": self.collector.state_dict(),
            "evaluation": self.eval_env.state_dict(),
            "data": self.data._asdict() | {"labels": self.data.labels._asdict()},
            "round": np.int64(self.round),
        }

    def _restore(self) -> None:
        learner, world = self.checkpoints.restore(learner=to_host(self.state._asdict()), world=to_host(self._world()))
        self.state = jax.tree.map(jnp.asarray, _State(**learner))
        self.collector.load_state_dict(world["collector"])
        self.eval_env.load_state_dict(world["evaluation"])
        data = jax.tree.map(jnp.asarray, world["data"])
        self.data = dataset.Dataset(**(data | {"labels": dataset.Labels(**data["labels"])}))
        self.round = int(world["round"])

    def _write(self, student: Score, reachability: dict[str, Any], seconds: float) -> None:
        teacher, config = self.teacher, self.config

        def judged(apply: Any, params: Any) -> dict[str, float]:
            by_teacher = as_teacher(self.contract, config.student.history_steps, apply)
            return evaluate(self.eval_env, by_teacher, params).as_dict()

        teacher_score = judged(teacher_greedy(teacher.networks), teacher.actor)
        labels = teacher_score
        if config.candidates > 1:
            labels = judged(best_of(teacher.networks, config.candidates), (teacher.actor, teacher.critic))
        self.folder.write_summary(
            {
                "task": self.contract.task,
                "contract_sha256": self.contract.digest,
                "parameters": count_parameters(self.state.policy),
                "teacher_parameters": self.teacher.parameters,
                "teacher_depth": self.teacher.config.network.actor_depth,
                "wall_s": seconds,
                "teacher": teacher_score,
                "labels": labels,
                "student": student.as_dict(),
                "evaluation": self._record(student).model_dump(mode="json"),
                "reachability": reachability,
            }
        )
        rows = self.folder.read_metrics()
        plot_curves(rows, self.folder.path / "curves.png", title=f"student, {self.contract.task}")

    def _record(self, score: Score) -> EvaluationRecord:
        """What the exported file will say about the student's success."""
        return EvaluationRecord.of(
            score,
            seed=self.config.seed + EVALUATION_SEED_OFFSET,
            engine=resolve(self.teacher.config.backend),
            randomised=randomisation_of(self.teacher, self.config).active,
        )


def evaluation_environment(teacher: Teacher, config: DistillConfig) -> Environment:
    """Held-out goals, and robots that no student of `config` learned on."""
    seed, count = config.seed + EVALUATION_SEED_OFFSET, config.eval_envs
    return _make_environment(teacher, config, count, seed, task=teacher.task.for_evaluation, keep_robots=True)


def randomisation_of(teacher: Teacher, config: DistillConfig) -> Randomisation:
    """How the student's robots differ: as told, else as the task declares."""
    if config.randomisation is None:
        return teacher.task.config.randomisation
    return load_randomisation(config.randomisation)


def _make_environment(
    teacher: Teacher,
    config: DistillConfig,
    num_envs: int,
    seed: int,
    *,
    task: Task | None = None,
    true_too: bool = False,
    **settings: Any,
) -> Environment:
    env = make_environment(
        task or teacher.task,
        resolve(teacher.config.backend),
        num_envs=num_envs,
        seed=seed,
        randomisation=randomisation_of(teacher, config),
        **settings,
    )
    return remembering(env, config.student.history_steps, true_too=true_too)


@partial(jax.jit, donate_argnums=0)
def _insert(data: dataset.Dataset, inputs: jax.Array, labels: dataset.Labels) -> dataset.Dataset:
    return dataset.insert(data, inputs, labels)
