"""Distillation by DAgger: the student acts, the teacher labels, the student learns from everything seen so far.

Ross et al. 2011 (arXiv 1011.0686); the share of teacher actions falls linearly to zero over `beta_rounds`.
"""

from __future__ import annotations

import math
import time
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sim2real.backends import make_environment, resolve
from sim2real.errors import ShoalError
from sim2real.evaluation import Score
from sim2real.goal_pool import EVALUATION_SEED_OFFSET
from sim2real.interface import goal_size, observation_size, policy_inputs
from student import dataset
from student.config import DistillConfig
from student.losses import action_error, gaussian_kl, normalised_distance
from student.network import Projections, StudentParams
from student.policy import greedy, make_policy
from student.reachability import fit_reachability
from teacher.networks import apply as network
from teacher.networks import count_parameters
from teacher.plots import plot_curves
from teacher.progress import TrainingProgress
from teacher.run_folder import MetricsLog, RunFolder
from teacher.train import Teacher, evaluate
from teacher.train import greedy as teacher_greedy


class _State(NamedTuple):
    policy: Any
    projections: Any
    optimizer: Any


class Distiller:
    """One distillation run of a loaded teacher into a folder."""

    def __init__(self, teacher: Teacher, config: DistillConfig, folder: RunFolder) -> None:
        self.teacher, self.config, self.folder = teacher, config, folder
        self.contract = teacher.contract
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((teacher.actor, teacher.critic))):
            raise ShoalError("teacher: its weights are not finite; distil from an earlier checkpoint or train again.")
        self.policy = make_policy(self.contract, config.student)
        shares = {"continue_share": config.continue_share, "wide_start_share": config.wide_start_share}
        self.env = self._environment(config.num_envs, config.seed, **shares)
        self.eval_env = self._environment(config.eval_envs, config.seed + EVALUATION_SEED_OFFSET)
        network = teacher.config.network
        self.projections = Projections(
            {"features": network.width, "phi": network.embedding_size, "psi": network.embedding_size}
        )
        total = config.rounds * config.updates_per_round
        self.optimizer = optax.adam(optax.cosine_decay_schedule(config.learning_rate, total, 0.01))
        self.apply = greedy(self.contract, self.policy)
        self._collect = self._mixture()

    def _environment(self, num_envs: int, seed: int, **shares: Any) -> Any:
        backend = resolve(self.teacher.config.backend)
        return make_environment(self.teacher.task, backend, num_envs=num_envs, seed=seed, **shares)

    def run(self) -> tuple[StudentParams, Score]:
        """Distil, fit and calibrate the reachability head, write summary and curves."""
        started, config = time.monotonic(), self.config
        state = self._init(jax.random.key(config.seed))
        data: dataset.Dataset | None = None
        log = MetricsLog(self.folder, resume_round=None)
        with TrainingProgress(config.rounds, 0, title=f"student {self.contract.task}") as progress:
            for number in range(config.rounds):
                data = self._visit(data, state, number)
                key = jax.random.fold_in(jax.random.key(config.seed + 2), number)
                state, metrics = self._update_many(state, data, key)
                row = {name: float(value) for name, value in metrics.items()}
                if not all(math.isfinite(value) for value in row.values()):
                    raise ShoalError(f"round {number + 1}: the loss became non-finite; lower the learning rate.")
                row |= {"round": number + 1, "updates": (number + 1) * config.updates_per_round}
                if (number + 1) % config.eval_every_rounds == 0 or number + 1 == config.rounds:
                    row |= evaluate(self.eval_env, self.apply, state.policy).as_dict()
                log.append(row)
                progress.update(row)
        log.close()
        student = evaluate(self.eval_env, self.apply, state.policy)
        head = fit_reachability(
            self.contract, self.policy, state.policy, config,
            environment=lambda count, seed: self._environment(count, seed, wild_goal_share=config.wild_goal_share),
        )  # fmt: skip
        self.contract = self.contract.model_copy(update={"reachability": head.calibration})
        self._write(student, state, head.report, time.monotonic() - started)
        return StudentParams(state.policy, head.params), student

    def _init(self, key: jax.Array) -> _State:
        policy_key, projection_key = jax.random.split(key)
        observation = jnp.zeros((1, observation_size(self.contract)))
        inputs = policy_inputs(jnp, self.contract, observation, jnp.zeros((1, goal_size(self.contract))))
        policy = self.policy.init(policy_key, inputs)
        features = jnp.zeros((1, self.config.student.hidden_width))
        projections = self.projections.init(projection_key, features)
        return _State(policy, projections, self.optimizer.init((policy, projections)))

    def _mixture(self) -> Any:
        """The collecting policy: each arm follows the teacher with probability beta at each step."""
        teacher, config = self.teacher, self.config

        def apply(params: Any, observation: jax.Array, goal: jax.Array, key: jax.Array) -> jax.Array:
            choice_key, noise_key = jax.random.split(key)
            student = self.apply(params["student"], observation, goal, key)
            expert = jnp.tanh(teacher.networks.act(teacher.actor, observation, goal)[0])
            use_expert = jax.random.uniform(choice_key, (observation.shape[0], 1)) < params["beta"]
            noise = config.exploration_std * jax.random.normal(noise_key, student.shape)
            return jnp.clip(jnp.where(use_expert, expert, student) + noise, -1.0, 1.0)

        return apply

    def _visit(self, data: dataset.Dataset | None, state: _State, number: int) -> dataset.Dataset:
        config = self.config
        beta = max(0.0, 1.0 - number / config.beta_rounds) if config.beta_rounds else 0.0
        params = {"student": state.policy, "beta": np.float32(beta)}
        key = jax.random.fold_in(jax.random.key(config.seed + 1), number)
        rollout = self.env.rollout(self._collect, params, key, self.contract.timing.episode_steps)
        flat = [jnp.asarray(x).reshape(-1, x.shape[-1]) for x in (rollout.observation, rollout.goal)]
        inputs, labels = self._label(*flat)
        if data is None:
            data = dataset.create(capacity=config.dataset_size, inputs=inputs, labels=labels)
        inserted: dataset.Dataset = _insert(data, inputs, labels)
        return inserted

    @partial(jax.jit, static_argnums=0)
    def _label(self, observation: jax.Array, goal: jax.Array) -> tuple[jax.Array, dataset.Labels]:
        networks, teacher = self.teacher.networks, self.teacher
        mean, log_std, features = networks.act(teacher.actor, observation, goal)
        phi = networks.embed(teacher.critic, observation, jnp.tanh(mean))
        labels = dataset.Labels(mean, log_std, features, phi, networks.embed_goal(teacher.critic, goal))
        return policy_inputs(jnp, self.contract, observation, goal), labels

    @partial(jax.jit, static_argnums=0, donate_argnums=1)
    def _update_many(self, state: _State, data: dataset.Dataset, key: jax.Array) -> tuple[_State, dict[str, jax.Array]]:
        def one(state: _State, key: jax.Array) -> tuple[_State, dict[str, jax.Array]]:
            inputs, labels = dataset.sample(data, key, self.config.batch_size)
            parts = (state.policy, state.projections)
            gradient, metrics = jax.grad(self._loss, has_aux=True)(parts, inputs, labels)
            updates, optimizer = self.optimizer.update(gradient, state.optimizer, parts)
            policy, projections = cast(tuple[Any, Any], optax.apply_updates(parts, updates))
            return _State(policy, projections, optimizer), metrics

        state, metrics = jax.lax.scan(one, state, jax.random.split(key, self.config.updates_per_round))
        return state, jax.tree.map(jnp.mean, metrics)

    def _loss(self, parts: tuple[Any, Any], inputs: jax.Array, labels: dataset.Labels) -> Any:
        config = self.config
        mean, log_std, features = network(self.policy, parts[0], inputs)
        projected = network(self.projections, parts[1], features)
        behaviour = gaussian_kl(labels.mean, labels.log_std, mean, log_std)
        action = action_error(labels.mean, mean)
        feature = normalised_distance(projected["features"], labels.features)
        embedding = 0.5 * (
            normalised_distance(projected["phi"], labels.phi) + normalised_distance(projected["psi"], labels.psi)
        )
        loss = (
            config.behaviour_weight * behaviour
            + config.action_weight * action
            + config.feature_weight * feature
            + config.embedding_weight * embedding
        )
        return loss, {
            "loss": loss, "behaviour": behaviour, "action_error": action, "representation": feature + embedding,
        }  # fmt: skip

    def _write(self, student: Score, state: _State, reachability: dict[str, float], seconds: float) -> None:
        teacher_score = evaluate(self.eval_env, teacher_greedy(self.teacher.networks), self.teacher.actor)
        self.folder.write_summary(
            {
                "task": self.contract.task,
                "contract_sha256": self.contract.digest,
                "parameters": count_parameters(state.policy),
                "teacher_parameters": self.teacher.parameters,
                "teacher_depth": self.teacher.config.network.actor_depth,
                "wall_s": seconds,
                "teacher": teacher_score.as_dict(),
                "student": student.as_dict(),
                "reachability": reachability,
            }
        )
        rows = self.folder.read_metrics()
        plot_curves(rows, self.folder.path / "curves.png", title=f"student, {self.contract.task}")


@partial(jax.jit, donate_argnums=0)
def _insert(data: dataset.Dataset, inputs: jax.Array, labels: dataset.Labels) -> dataset.Dataset:
    return dataset.insert(data, inputs, labels)
