"""The learner: one jitted program that samples and updates many times, whatever the objective.

Shapes: `B` batch, `D` observation size, `G` goal-vector size, `J` action size.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from sim2real.contract import Contract
from sim2real.contract.interface import action_size, from_home, goal_size, observation_size, policy_inputs
from sim2real.contract.mirror import Mirror
from teacher import replay
from teacher.config import LearnerConfig, NetworkConfig
from teacher.defaults import settings_for
from teacher.devices import Devices
from teacher.networks import Actor, apply, sample_tanh_gaussian
from teacher.objectives import make_objective
from teacher.objectives.base import Batch, Metrics, Objective, Params, network_trunk


class Networks(NamedTuple):
    """Actor and critic, as pure functions of parameters."""

    actor: Actor
    objective: Objective
    contract: Contract

    @property
    def joints(self) -> int:
        """Numbers in the action of one step."""
        return action_size(self.contract)

    def act(self, params: Params, observation: jax.Array, goal: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Mean and log standard deviation before the tanh, `[B, K J]` each, and trunk features, for `[B, D]` and
        `[B, G]`.
        """
        mean, log_std, features = apply(self.actor, params, policy_inputs(jnp, self.contract, observation, goal))
        return mean, log_std, features

    def embed(self, params: Params, observation: jax.Array, action: jax.Array) -> jax.Array:
        """phi(s, a), `[B, E]`, of `[B, D]` and `[B, K J]`."""
        return self.objective.embed(params, observation, action)

    def embed_goal(self, params: Params, goal: jax.Array, observation: jax.Array) -> jax.Array:
        """psi(g), `[B, E]`, of goals `[B, G]` as the critic sees them from observations `[B, D]`."""
        return self.objective.embed_goal(params, goal, observation)

    def value(self, params: Params, observation: jax.Array, goal: jax.Array, action: jax.Array) -> jax.Array:
        """What the critic thinks of actions `[B, K J]` on the way to goals `[B, G]`, `[B]`; more is better."""
        return self.objective.value(params, observation, action, self.embed_goal(params, goal, observation))


def make_networks(contract: Contract, network: NetworkConfig, config: LearnerConfig) -> Networks:
    """Networks of the configured sizes for a contract and an objective."""
    actions = config.action_chunk * action_size(contract)
    actor = Actor(network_trunk(network, network.actor_depth), actions)
    return Networks(actor, make_objective(contract, network, config), contract)


class LearnerState(NamedTuple):
    """Everything that an update changes."""

    actor: Params
    critic: Params
    """`{"phi": ..., "psi": ...}` and what else the objective has."""
    log_alpha: jax.Array
    optimizer: Any
    """States of the actor's, the critic's and the temperature's optimiser."""
    evaluated_actor: Params
    """The actor that collects and is evaluated: a running average when `polyak` is above 0."""
    updates: jax.Array
    """int32."""


class Learner:
    """Builds the jitted update for a contract and configuration."""

    def __init__(
        self,
        contract: Contract,
        network: NetworkConfig,
        config: LearnerConfig,
        total_updates: int,
        devices: Devices | None = None,
        mirror: Mirror | None = None,
    ) -> None:
        """With `mirror`, half of every batch is what the robot would have experienced in it."""
        self._mirror = mirror
        image = None if mirror is None else mirror.key
        settings = network.model_dump_json(), config.model_dump_json(), total_updates
        self._settings = (contract.digest, *settings, devices, image)
        self.contract, self.config, self._devices = contract, config, devices
        self.networks = make_networks(contract, network, config)
        self.objective = self.networks.objective
        self.settings = settings_for(contract, config)
        self._optimizers = (
            _optimizer(config.actor_learning_rate, config, total_updates),
            _optimizer(config.critic_learning_rate, config, total_updates),
            optax.adam(config.alpha_learning_rate),
        )

    def __eq__(self, other: object) -> bool:
        """Whether both compile the same programs, so that a process does so once for all runs that differ by seed."""
        return isinstance(other, Learner) and self._settings == other._settings

    def __hash__(self) -> int:
        return hash(self._settings)

    @partial(jax.jit, static_argnums=0)  # one program instead of a hundred
    def init(self, key: jax.Array) -> LearnerState:
        """Fresh parameters and optimisers."""
        actor_key, phi_key, psi_key = jax.random.split(key, 3)
        observation = jnp.zeros((1, observation_size(self.contract)))
        goal = jnp.zeros((1, goal_size(self.contract)))
        actor = self.networks.actor.init(actor_key, policy_inputs(jnp, self.contract, observation, goal))
        critic = self.objective.init(phi_key, psi_key)
        log_alpha = jnp.asarray(self.config.initial_log_alpha, jnp.float32)
        parts = (actor, critic, log_alpha)
        states = tuple(opt.init(part) for opt, part in zip(self._optimizers, parts, strict=True))
        return LearnerState(actor, critic, log_alpha, states, jax.tree.map(jnp.copy, actor), jnp.zeros((), jnp.int32))

    def shapes(self) -> dict[str, Any]:
        """The fields of a state with shapes and types in place of arrays, as a checkpoint is fitted to."""
        state: LearnerState = jax.eval_shape(self.init, jax.random.key(0))
        return state._asdict()

    @partial(jax.jit, static_argnums=(0, 4), donate_argnums=(1,))
    def update_many(
        self, state: LearnerState, buffer: replay.Replay, key: jax.Array, count: int
    ) -> tuple[LearnerState, Metrics]:
        """`count` updates on freshly sampled batches; metrics are means over them."""

        def one(state: LearnerState, key: jax.Array) -> tuple[LearnerState, Metrics]:
            sample_key, update_key = jax.random.split(key)
            return self.update(state, self.sample(buffer, sample_key), update_key)

        state, metrics = jax.lax.scan(one, state, jax.random.split(key, count))
        return state, jax.tree.map(jnp.mean, metrics)

    def sample(self, buffer: replay.Replay, key: jax.Array) -> Any:
        """One batch of the objective's, each device's part from its own environments."""
        batch = self.objective.sample(buffer, key, strata=1 if self._devices is None else self._devices.size)
        return batch if self._mirror is None else half_mirrored(batch, self._mirror)

    def _keep(self, tree: Any, *, everywhere: bool) -> Any:
        """Hold arrays where they belong, whatever XLA would rather do: everywhere, or split along their first axis."""
        if self._devices is None or self._devices.size == 1:
            return tree
        constrain: Any = jax.lax.with_sharding_constraint
        return constrain(tree, self._devices.replicated if everywhere else self._devices.split(0))

    def update(self, state: LearnerState, batch: Any, key: jax.Array) -> tuple[LearnerState, Metrics]:
        """One update of critic, actor and temperature from one batch, in the configured order."""
        batch = self._keep(batch, everywhere=False)
        critic, critic_state, goal_embedding, metrics = self.update_critic(state.critic, state.optimizer[1], batch)
        judge = critic if self.judged_by_updated else state.critic
        state, more = self.update_actor(state, judge, goal_embedding, batch, key)
        actor_state, _, alpha_state = state.optimizer
        state = state._replace(critic=critic, optimizer=(actor_state, critic_state, alpha_state))
        return LearnerState(*self._keep(state, everywhere=True)), metrics | more

    @property
    def judged_by_updated(self) -> bool:
        """Whether the actor learns from the critic as it is after its update of the same batch."""
        return self.config.update_order == "critic_first"

    def update_critic(self, critic: Params, optimizer: Any, batch: Any) -> tuple[Params, Any, jax.Array, Metrics]:
        """The critic and its optimiser's state after one update, psi(g) before it, `[B, E]`, and metrics. No actor has
        a part in it.
        """
        gradient, (goal_embedding, metrics) = jax.grad(self.critic_loss, has_aux=True)(critic, batch)
        changes, optimizer = self._optimizers[1].update(gradient, optimizer, critic)
        metrics = metrics | {"critic_gradient_norm": optax.tree.norm(gradient)}
        return optax.apply_updates(critic, changes), optimizer, goal_embedding, metrics

    def update_actor(
        self, state: LearnerState, judge: Params, goal_embedding: jax.Array, batch: Any, key: jax.Array
    ) -> tuple[LearnerState, Metrics]:
        """The state after one update of actor and temperature against the critic `judge`, and metrics; critic and
        critic's optimiser stay what they are, and are not read.

        `simultaneous` takes psi(g) as the critic's loss had it; `critic_first` has to compute it again.
        """
        actor_opt, _, alpha_opt = self._optimizers
        actor_state, critic_state, alpha_state = state.optimizer
        if self.judged_by_updated:
            goal_embedding = self.networks.embed_goal(judge, batch.goal, batch.observation)
        (actor_gradient, alpha_gradient), metrics = jax.grad(self.actor_loss, has_aux=True)(
            (state.actor, state.log_alpha), judge, goal_embedding, batch, key
        )
        changes, actor_state = actor_opt.update(actor_gradient, actor_state, state.actor)
        actor = optax.apply_updates(state.actor, changes)
        changes, alpha_state = alpha_opt.update(alpha_gradient, alpha_state, state.log_alpha)
        log_alpha = jnp.asarray(optax.apply_updates(state.log_alpha, changes))
        keep = self.config.polyak
        evaluated = jax.tree.map(lambda old, new: keep * old + (1 - keep) * new, state.evaluated_actor, actor)
        state = state._replace(
            actor=actor,
            log_alpha=log_alpha,
            optimizer=(actor_state, critic_state, alpha_state),
            evaluated_actor=evaluated if keep else actor,
            updates=state.updates + 1,
        )
        return state, metrics | {"actor_gradient_norm": optax.tree.norm(actor_gradient)}

    def _asked_for(
        self, key: jax.Array, critic: Params, batch: Batch, goal_embedding: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """The actor's goals and their embeddings: the batch's, of which a share gives way to those of other rows."""
        share = self.config.random_goal_share
        if share == 0:
            return batch.goal, goal_embedding
        swap = (jax.random.uniform(key, batch.goal.shape[:1]) < share)[:, None]
        goal = jnp.where(swap, jnp.roll(batch.goal, 1, axis=0), batch.goal)
        if self.settings.critic_sees == "way":
            # Another row's goal lies another way from here.
            return goal, self.networks.embed_goal(critic, goal, batch.observation)
        return goal, jnp.where(swap, jnp.roll(goal_embedding, 1, axis=0), goal_embedding)

    def critic_loss(self, critic: Params, batch: Any) -> tuple[jax.Array, tuple[jax.Array, Metrics]]:
        """The objective's loss; also psi(g), `[B, E]`, and metrics."""
        return self.objective.loss(critic, batch)

    def actor_loss(
        self,
        parts: tuple[Params, jax.Array],
        critic: Params,
        goal_embedding: jax.Array,
        batch: Batch,
        key: jax.Array,
    ) -> tuple[jax.Array, Metrics]:
        """Entropy-regularised value of the actor's own actions, plus the temperature's loss.

        `parts` are actor and log alpha, which are differentiated; `goal_embedding` is psi(g) of the same critic.
        """
        (actor, log_alpha), config, frozen = parts, self.config, jax.lax.stop_gradient
        sample_key, goal_key = jax.random.split(key)
        goal, goal_embedding = self._asked_for(goal_key, critic, batch, goal_embedding)
        mean, log_std, _ = self.networks.act(actor, batch.observation, goal)
        action, log_density = sample_tanh_gaussian(sample_key, mean, log_std)
        value = self.objective.value(critic, batch.observation, action, goal_embedding, batch)
        greedy = jnp.tanh(mean)
        effort = jnp.sum(greedy**2, axis=-1) / config.action_chunk
        cost = self.settings.action_penalty * effort
        if self.settings.posture_weight > 0:
            cost += self.settings.posture_weight * self._leaving_home(greedy, batch.observation)
        loss = jnp.mean(frozen(jnp.exp(log_alpha)) * log_density - value + cost)
        target_entropy = config.target_entropy_per_action * action.shape[-1]
        alpha_loss = jnp.mean(jnp.exp(log_alpha) * frozen(-log_density - target_entropy))
        metrics = {
            "actor_loss": loss,
            "alpha": jnp.exp(log_alpha),
            "entropy": -jnp.mean(log_density),
            "effort": jnp.mean(effort),
            "saturation": jnp.mean(jnp.abs(mean) > 2),
        }
        return loss + alpha_loss, metrics

    def _leaving_home(self, action: jax.Array, observation: jax.Array) -> jax.Array:
        """How far actions `[B, K A]` turn joints away from home, `[B]`, mean over a chunk. What an action has behind
        its joints' own numbers, a gait's swings, turns them to and fro.
        """
        away = from_home(self.contract, observation)[:, None]
        own = action.reshape(len(action), self.config.action_chunk, self.networks.joints)[..., : away.shape[-1]]
        return jnp.mean(jnp.sum(own * away, axis=-1), axis=-1)


def half_mirrored(batch: Any, mirror: Mirror) -> Any:
    """A batch, of which every other row is as in the mirror. Times and distances are the same there."""
    every_other = (jnp.arange(len(batch.observation)) % 2 == 1)[:, None]
    actions = batch.action.reshape(len(batch.action), -1, len(mirror.action.order))
    seen = {
        "observation": mirror.observation(batch.observation),
        "action": mirror.action(actions).reshape(batch.action.shape),
        "goal": mirror.goal(batch.goal),
    }
    return batch._replace(**{name: jnp.where(every_other, new, getattr(batch, name)) for name, new in seen.items()})


def _optimizer(rate: float, config: LearnerConfig, total_updates: int) -> optax.GradientTransformation:
    warmup = min(config.warmup_updates, total_updates)
    schedule = optax.join_schedules(
        [
            optax.linear_schedule(0.0, rate, warmup),
            optax.cosine_decay_schedule(rate, max(total_updates - warmup, 1), config.final_learning_rate_fraction),
        ],
        [warmup],
    )
    return optax.chain(optax.clip_by_global_norm(config.max_gradient_norm), optax.adam(schedule))
