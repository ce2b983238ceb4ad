"""One training step as the published code of arXiv 2503.14858 writes it, for timing: the same mathematics as ours.

What it does differently, from that code's structure (not its text):

- every residual block is a Python loop iteration, so the program grows with depth;
- hindsight goals come from a `[T, T]` table of probabilities for each window of T steps of each environment, of which
  every transition of the window draws one goal; the relabelled windows are flattened, shuffled and cut into batches;
- the energy of all pairs goes through a `[B, B, E]` array of differences;
- actor and critic are two losses with two backward passes, and both compute psi(g).

Parameters are those of `teacher.networks` (stacked blocks), unstacked once before timing.

Shapes: `T` window, `N` environments, `B` batch, `K` blocks, `E` embedding size.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from sim2real.contract.interface import from_home, goal_features, policy_inputs
from teacher.learner import Learner
from teacher.networks import LOG_STD_MAX, LOG_STD_MIN, sample_tanh_gaussian
from teacher.replay import Batch

Params = Any


class State(NamedTuple):
    """Parameters with one entry a block, and optimiser states."""

    actor: Params
    critic: Params
    log_alpha: jax.Array
    optimizer: Any


def unstack(params: Params) -> Params:
    """Parameters of a scanned network as a list with one tree for each block."""
    trunk = dict(params["params"]["trunk"])
    blocks = trunk.pop("blocks")
    count = jax.tree.leaves(blocks)[0].shape[0]
    trunk["blocks"] = [jax.tree.map(lambda leaf, k=k: leaf[k], blocks) for k in range(count)]
    return {"params": dict(params["params"]) | {"trunk": trunk}}


class PublishedUpdate:
    """The published form of a learner's update; design `scaled`, as our default, so that both compute the same."""

    def __init__(self, learner: Learner) -> None:
        self.learner = learner
        self.block_size = learner.objective.phi.trunk.block_size

    def init(self, key: jax.Array) -> State:
        """The learner's own initial parameters, unstacked."""
        state = self.learner.init(key)
        actor = unstack(state.actor)
        critic = {name: unstack(tree) for name, tree in state.critic.items()}
        parts = (actor, critic, state.log_alpha)
        optimizers = tuple(opt.init(part) for opt, part in zip(self.learner._optimizers, parts, strict=True))
        return State(actor, critic, state.log_alpha, optimizers)

    def relabel(self, window: Batch, last: jax.Array, key: jax.Array) -> Batch:
        """Hindsight for whole windows: observations `[T, N, D]`, goals achieved `[T, N, G]`, episode ends `[T, N]`.

        Returns all `T N` transitions, shuffled, `[T N, ...]`; cut them into batches afterwards.
        """
        steps, envs = last.shape
        episode = jnp.cumsum(last, axis=0) - last
        index = jnp.arange(steps)
        ahead = index[None, :] - index[:, None]
        weight = jnp.where(ahead > 0, self.learner.settings.gamma ** ahead.astype(jnp.float32), 0.0)

        def one(achieved: jax.Array, episode: jax.Array, key: jax.Array) -> jax.Array:
            table = weight * (episode[None, :] == episode[:, None]) + jnp.eye(steps) * 1e-5
            return achieved[jax.random.categorical(key, jnp.log(table), axis=1)]

        keys = jax.random.split(key, envs + 1)
        goal = jax.vmap(one, in_axes=(1, 1, 0), out_axes=1)(window.goal, episode, keys[1:])
        order = jax.random.permutation(keys[0], steps * envs)
        return Batch(*(x.reshape(steps * envs, -1)[order] for x in (window.observation, window.action, goal)))

    def update(self, state: State, batch: Batch, key: jax.Array) -> tuple[State, dict[str, jax.Array]]:
        """One update: the actor against the critic as it is, then the critic."""
        actor_opt, critic_opt, alpha_opt = self.learner._optimizers
        actor_state, critic_state, alpha_state = state.optimizer
        (actor_loss, log_density), gradient = jax.value_and_grad(self.actor_loss, has_aux=True)(
            state.actor, state.critic, state.log_alpha, batch, key
        )
        changes, actor_state = actor_opt.update(gradient, actor_state, state.actor)
        actor = optax.apply_updates(state.actor, changes)
        alpha_gradient = jax.grad(self._alpha_loss)(state.log_alpha, log_density, batch.action.shape[-1])
        changes, alpha_state = alpha_opt.update(alpha_gradient, alpha_state, state.log_alpha)
        log_alpha = jnp.asarray(optax.apply_updates(state.log_alpha, changes))
        critic_loss, gradient = jax.value_and_grad(self.critic_loss)(state.critic, batch)
        changes, critic_state = critic_opt.update(gradient, critic_state, state.critic)
        critic = optax.apply_updates(state.critic, changes)
        metrics = {"actor_loss": actor_loss, "critic_loss": critic_loss}
        return State(actor, critic, log_alpha, (actor_state, critic_state, alpha_state)), metrics

    def critic_loss(self, critic: Params, batch: Batch) -> jax.Array:
        """InfoNCE over all pairs."""
        config = self.learner.config
        embedding = self._embed(critic["phi"], jnp.concatenate([batch.observation, batch.action], -1))
        goal = self._embed(critic["psi"], goal_features(self.learner.contract, batch.goal))
        pairs = embedding[:, None, :] - goal[None, :, :]
        logits = -jnp.sqrt(jnp.sum(pairs**2, axis=-1) + config.energy_epsilon)
        rows = jax.nn.logsumexp(logits, axis=1)
        loss = -jnp.mean(jnp.diag(logits) - rows)
        if config.contrast == "symmetric":
            loss = 0.5 * (loss - jnp.mean(jnp.diag(logits) - jax.nn.logsumexp(logits, axis=0)))
        return loss + config.logsumexp_penalty * jnp.mean(rows**2)

    def actor_loss(
        self, actor: Params, critic: Params, log_alpha: jax.Array, batch: Batch, key: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Entropy-regularised energy; also the log densities `[B]`."""
        learner = self.learner
        features = self._trunk(actor, policy_inputs(jnp, learner.contract, batch.observation, batch.goal))
        heads = actor["params"]
        mean = _dense(heads["mean"], features)
        log_std = LOG_STD_MIN + 0.5 * (LOG_STD_MAX - LOG_STD_MIN) * (jnp.tanh(_dense(heads["log_std"], features)) + 1)
        action, log_density = sample_tanh_gaussian(jax.random.split(key)[0], mean, log_std)
        embedding = self._embed(critic["phi"], jnp.concatenate([batch.observation, action], -1))
        goal = self._embed(critic["psi"], goal_features(learner.contract, batch.goal))
        reached = -jnp.sqrt(jnp.sum((embedding - goal) ** 2, axis=-1) + learner.config.energy_epsilon)
        greedy = jnp.tanh(mean)
        cost = learner.settings.action_penalty * jnp.sum(greedy**2, axis=-1)
        cost += learner.settings.posture_weight * jnp.sum(
            greedy * from_home(learner.contract, batch.observation), axis=-1
        )
        return jnp.mean(jnp.exp(log_alpha) * log_density - reached + cost), log_density

    def _alpha_loss(self, log_alpha: jax.Array, log_density: jax.Array, actions: int) -> jax.Array:
        target = self.learner.config.target_entropy_per_action * actions
        return jnp.mean(jnp.exp(log_alpha) * (-log_density - target))

    def _embed(self, params: Params, x: jax.Array) -> jax.Array:
        return _dense(params["params"]["embedding"], self._trunk(params, x))

    def _trunk(self, params: Params, x: jax.Array) -> jax.Array:
        trunk = params["params"]["trunk"]
        x = jax.nn.swish(_norm(trunk["NormSwish_0"], _dense(trunk["Dense_0"], x)))
        blocks = trunk["blocks"]
        for block in blocks:
            h = x
            for layer in range(self.block_size):
                h = jax.nn.swish(_norm(block[f"NormSwish_{layer}"], _dense(block[f"Dense_{layer}"], h)))
            x = x + h / len(blocks) ** 0.5
        return _norm(trunk["final_norm"], x)


def _dense(params: Params, x: jax.Array) -> jax.Array:
    return jnp.asarray(x @ params["kernel"] + params["bias"])


def _norm(params: Params, x: jax.Array) -> jax.Array:
    mean, square = jnp.mean(x, -1, keepdims=True), jnp.mean(x * x, -1, keepdims=True)
    scale = jax.lax.rsqrt(jnp.maximum(square - mean * mean, 0.0) + 1e-6)
    return jnp.asarray((x - mean) * scale * params["scale"] + params["bias"])
