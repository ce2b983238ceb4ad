"""Where a student's data come from: whose states, which goals, and the teacher's labels on them.

DAgger is Ross et al. 2011 (arXiv 1011.0686); the share of teacher actions falls linearly to zero over `beta_rounds`.
Shapes: `N` environments, `T` control steps.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sim2real.backends.base import Environment
from student.config import DistillConfig
from student.distillation.dataset import Labels
from student.history import truth
from student.policy import student_inputs
from teacher.policies import best_candidate
from teacher.trained import Teacher


class Collector:
    """Visits states and has the teacher label them. `state_dict` holds all that the next visit depends on."""

    def __init__(self, teacher: Teacher, student_apply: Any, env: Environment, config: DistillConfig) -> None:
        self.teacher, self.env, self.config = teacher, env, config
        self._student_apply = student_apply
        self._error = np.zeros(env.num_envs)
        self._goals = np.array(env.goals())

    def beta(self, number: int) -> float:
        """The teacher's share of the actions in round `number`, counted from 0."""
        match self.config.states:
            case "teacher":
                return 1.0
            case "mixture":
                return self.config.mixture_share
            case "student":
                return max(0.0, 1.0 - number / self.config.beta_rounds) if self.config.beta_rounds else 0.0

    def visit(self, policy: Any, number: int) -> tuple[jax.Array, Labels]:
        """One episode in every environment; policy inputs `[T N, I]` and labels of all states."""
        self._give_hard_goals(number)
        self._goals = np.array(self.env.goals())
        params = {"student": policy, "beta": np.float32(self.beta(number))}
        key = jax.random.fold_in(jax.random.key(self.config.seed + 1), number)
        rollout = self.env.rollout(self._act, params, key, self.teacher.contract.timing.episode_steps)
        states = jnp.asarray(rollout.observation), jnp.asarray(rollout.goal)
        inputs, labels, error = self.label(policy, *states, jax.random.fold_in(key, 1))
        self._error = np.asarray(error, np.float64)
        return inputs, labels

    def _give_hard_goals(self, number: int) -> None:
        """Repeat goals of the last round for a share of the arms, the likelier the worse the student acted there."""
        if not self.config.hard_goal_share or self._error.sum() <= 0:
            return
        rng = np.random.default_rng((self.config.seed, number))
        ids = np.flatnonzero(rng.random(self.env.num_envs) < self.config.hard_goal_share)
        drawn = rng.choice(self.env.num_envs, size=len(ids), p=self._error / self._error.sum())
        self.env.set_goals(ids, self._goals[drawn])

    def _act(self, params: Any, observation: jax.Array, goal: jax.Array, key: jax.Array) -> jax.Array:
        """Each arm follows the teacher with probability beta at each step; noise shows the way back from errors."""
        std = self.config.exploration_std
        choice_key, noise_key = jax.random.split(key)
        student = self._student_apply(params["student"], observation, goal, key)
        expert = jnp.tanh(self._expert(self._present(observation), goal, key)[0][..., : student.shape[-1]])
        use_expert = jax.random.uniform(choice_key, (observation.shape[0], 1)) < params["beta"]
        noise = std * jax.random.normal(noise_key, student.shape)
        return jnp.clip(jnp.where(use_expert, expert, student) + noise, -1.0, 1.0)

    @partial(jax.jit, static_argnums=0)
    def label(
        self, policy: Any, observation: jax.Array, goal: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, Labels, jax.Array]:
        """The teacher's answers on `[T, N, ...]` states, flat, and the student's mean action error per arm, `[N]`."""
        networks, teacher = self.teacher.networks, self.teacher
        flat = [x.reshape(-1, x.shape[-1]) for x in (observation, goal)]
        present = self._present(flat[0])
        mean, log_std, features = self._expert(present, flat[1], key)
        phi = networks.embed(teacher.critic, present, jnp.tanh(mean))
        # A student decides on one action, the first of its teacher's chunk.
        mean, log_std = mean[:, : networks.joints], log_std[:, : networks.joints]
        labels = Labels(mean, log_std, features, phi, networks.embed_goal(teacher.critic, flat[1], present))
        student = self._student_apply(policy, *flat, jax.random.key(0))
        error = jnp.mean(jnp.abs(jnp.tanh(mean) - student), axis=-1).reshape(observation.shape[:2])
        return student_inputs(teacher.contract, self.config.student, *flat), labels, jnp.mean(error, axis=0)

    def _expert(
        self, observation: jax.Array, goal: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """What is imitated, before the tanh, `[B, K J]`, its log standard deviation and the actor's features."""
        networks, teacher = self.teacher.networks, self.teacher
        mean, log_std, features = networks.act(teacher.actor, observation, goal)
        if (count := self.config.candidates) > 1:
            mean = best_candidate(networks, teacher.critic, observation, goal, mean, log_std, key=key, count=count)
        return mean, log_std, features

    def _present(self, observation: jax.Array) -> jax.Array:
        """What the teacher judges: the truth if it is told it, or else what the student sees."""
        return jnp.asarray(truth(self.teacher.contract, self.config.student.history_steps, observation))

    def state_dict(self) -> dict[str, Any]:
        """The environments, and the last round's goals and errors."""
        return {"environment": self.env.state_dict(), "error": self._error, "goals": self._goals}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()`."""
        self.env.load_state_dict(state["environment"])
        self._error, self._goals = state["error"], state["goals"]
