"""The reachability head: P(the goal is reached within an episode), learned from the student's own outcomes.

The student is rolled out on goals of which a share is drawn without asking whether the arm can reach them;
every visited state is labelled with how its episode ended, and with what the teacher's critic thinks of the student's
action there, which a second output follows as an auxiliary target (`critic_weight`). Half as many fresh episodes then
calibrate the logit by Platt scaling and give the reported numbers on a third set, beside those of the critic alone,
scaled likewise.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sim2real.backends.base import Environment
from sim2real.contract import Calibration, Contract
from sim2real.evaluation.success import episode_errors, first_episode
from student.config import DistillConfig
from student.distillation.losses import binary_cross_entropy
from student.history import truth
from student.network import ReachabilityHead, StudentPolicy
from student.policy import greedy, student_inputs
from teacher.networks import apply

Value = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
"""`value(observation [B, D], goal [B, G], action [B, J]) -> [B]`, of the teacher's critic."""

_BATCH = 1024
_PLATT_STEPS = 500


class Head(NamedTuple):
    """The fitted head, its calibration and what it achieves on episodes that it never saw."""

    params: Any
    calibration: Calibration
    report: dict[str, Any]


def fit_reachability(
    contract: Contract,
    policy: StudentPolicy,
    params: Any,
    config: DistillConfig,
    *,
    value: Value,
    environment: Callable[[int, int], Environment],
) -> Head:
    """Fit, calibrate and judge; `environment(num_envs, seed)` draws out-of-distribution goals too, and `value` is what
    the critic thinks.
    """
    count = config.reachability_episodes
    sizes = (count, count // 2 + 1, count // 2 + 1)
    # Episodes are grouped: training, calibration and judgement never share one.
    groups = [
        _episodes(contract, policy, params, environment(size, config.seed + 31 + index), value)
        for index, size in enumerate(sizes)
    ]
    head = ReachabilityHead()
    head_params = _train(head, groups[0], config)
    fitting, judged = (_logits(head, head_params, group) for group in groups[1:])
    calibration, probability = _judge(fitting, judged, groups[1].label)
    _, critic = _judge(groups[1].value, groups[2].value, groups[1].label)
    label = groups[2].label
    report = {
        "episodes": sizes[2],
        "reached_share": float(label.mean()),
        "expected_calibration_error": expected_calibration_error(probability, label),
        "auroc": auroc(probability, label),
        "critic_expected_calibration_error": expected_calibration_error(critic, label),
        "critic_auroc": auroc(critic, label),
        "reliability": reliability(probability, label),
    }
    return Head(head_params, calibration, report)


def _judge(fitting: np.ndarray, judged: np.ndarray, label: np.ndarray) -> tuple[Calibration, np.ndarray]:
    """Calibrate scores on one group; the calibration, and probabilities of another group."""
    calibration = _calibrate(fitting, label)
    return calibration, 1 / (1 + np.exp(-(calibration.slope * judged + calibration.offset)))


class _Group(NamedTuple):
    inputs: np.ndarray
    features: np.ndarray
    label: np.ndarray
    value: np.ndarray


def _episodes(contract: Contract, policy: StudentPolicy, params: Any, env: Environment, value: Value) -> _Group:
    env.reset()
    rollout = env.rollout(greedy(contract, policy), params, jax.random.key(0), contract.timing.episode_steps)
    reached = episode_errors(contract, rollout).coarse

    @jax.jit
    def described(params: Any, observation: jax.Array, goal: jax.Array) -> tuple[jax.Array, jax.Array]:
        inputs = student_inputs(contract, policy.config, observation, goal)
        flat = inputs.reshape(-1, inputs.shape[-1])
        return flat, apply(policy, params, flat, method=StudentPolicy.action)[1]

    flat, features = described(params, jnp.asarray(rollout.observation), jnp.asarray(rollout.goal))
    label = np.broadcast_to(reached, rollout.last.shape).reshape(-1).astype(np.float32)
    parts = truth(contract, policy.config.history_steps, rollout.observation), rollout.goal, rollout.action
    states = [jnp.asarray(x).reshape(-1, x.shape[-1]) for x in parts]
    group = _Group(np.asarray(flat), np.asarray(features), label, np.asarray(jax.jit(value)(*states)))
    # What comes behind an early end belongs to another episode.
    return _Group(*(column[first_episode(rollout).reshape(-1)] for column in group))


def _logits(head: ReachabilityHead, params: Any, group: _Group) -> np.ndarray:
    logits = jax.jit(partial(apply, head))(params, jnp.asarray(group.inputs), jnp.asarray(group.features))
    return np.asarray(logits)[:, 0]


def _train(head: ReachabilityHead, group: _Group, config: DistillConfig) -> Any:
    """Parameters of `head`, trained with a second output that is cut off at the end."""
    both = head.clone(outputs=2)
    inputs, features, label, value = (jnp.asarray(x) for x in group)
    value = (value - value.mean()) / (value.std() + 1e-6)
    params = jax.jit(both.init)(jax.random.key(config.seed + 7), inputs[:1], features[:1])
    optimizer = optax.adamw(optax.cosine_decay_schedule(2e-3, config.reachability_updates), weight_decay=1e-3)

    def loss(params: Any, row: jax.Array) -> jax.Array:
        output = apply(both, params, inputs[row], features[row])
        auxiliary = jnp.mean((output[:, 1] - value[row]) ** 2)
        return binary_cross_entropy(output[:, 0], label[row]) + config.critic_weight * auxiliary

    def one(carry: tuple[Any, Any], key: jax.Array) -> tuple[tuple[Any, Any], None]:
        params, state = carry
        row = jax.random.randint(key, (_BATCH,), 0, label.shape[0])
        updates, state = optimizer.update(jax.grad(loss)(params, row), state, params)
        return (optax.apply_updates(params, updates), state), None

    @partial(jax.jit, donate_argnums=0)
    def fit(carry: tuple[Any, Any], keys: jax.Array) -> tuple[Any, Any]:
        return jax.lax.scan(one, carry, keys)[0]

    keys = jax.random.split(jax.random.key(config.seed + 8), config.reachability_updates)
    trained = fit((params, optimizer.init(params)), keys)[0]
    last = {name: leaf[..., :1] for name, leaf in trained["params"]["Dense_1"].items()}
    return {"params": trained["params"] | {"Dense_1": last}}


def _calibrate(logit_on_host: np.ndarray, label_on_host: np.ndarray) -> Calibration:
    """Platt scaling (Platt 1999): the slope and offset that minimise cross entropy on held-out episodes."""
    optimizer = optax.adam(0.05)
    logit, label = jnp.asarray(logit_on_host), jnp.asarray(label_on_host)
    params = {"slope": jnp.ones(()), "offset": jnp.zeros(())}

    def one(carry: Any, _: None) -> tuple[Any, None]:
        params, state = carry
        gradient = jax.grad(lambda p: binary_cross_entropy(p["slope"] * logit + p["offset"], label))(params)
        updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), None

    (params, _), _ = jax.jit(lambda c: jax.lax.scan(one, c, None, _PLATT_STEPS))((params, optimizer.init(params)))
    return Calibration(slope=float(params["slope"]), offset=float(params["offset"]))


def expected_calibration_error(probability: np.ndarray, label: np.ndarray, bins: int = 10) -> float:
    """Mean distance between predicted and observed frequency over equal-width bins (Naeini et al. 2015)."""
    rows = reliability(probability, label, bins)
    return float(sum(row["share"] * abs(row["predicted"] - row["observed"]) for row in rows))


def reliability(probability: np.ndarray, label: np.ndarray, bins: int = 10) -> list[dict[str, float]]:
    """Yields, for each bin of predictions that is not empty: mean prediction, observed frequency, share of all
    states.
    """
    index = np.minimum((probability * bins).astype(int), bins - 1)
    return [
        {
            "predicted": float(probability[index == b].mean()),
            "observed": float(label[index == b].mean()),
            "share": float((index == b).mean()),
        }
        for b in range(bins)
        if (index == b).any()
    ]


def auroc(score: np.ndarray, label: np.ndarray) -> float:
    """Area under the ROC curve by the rank statistic, ties counted half; NaN-free: 0.5 with one class only."""
    positive = int(label.sum())
    negative = label.size - positive
    if positive == 0 or negative == 0:
        return 0.5
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2
    rank_sum = mean_rank[inverse][label > 0.5].sum()
    return float((rank_sum - positive * (positive + 1) / 2) / (positive * negative))
