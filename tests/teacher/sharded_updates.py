"""Some updates on all devices of all processes; writes the weights. Run by test_devices.py."""

from __future__ import annotations

import sys

import jax
import numpy as np

from sim2real.backends.base import Rollout
from sim2real.contract.interface import goal_size, observation_size
from teacher import replay
from teacher.devices import make_devices, start_distributed
from teacher.learner import Learner
from tests.teacher.tiny import LEARNER, NETWORK, contract

ENVS, STEPS, UPDATES = 8, 60, 5


def rollout() -> Rollout:
    rng = np.random.default_rng(0)
    sizes = observation_size(contract()), goal_size(contract()), 7
    observation, achieved, action = (rng.normal(size=(STEPS, ENVS, size)).astype(np.float32) for size in sizes)
    last = np.zeros((STEPS, ENVS), bool)
    last[19::20] = True
    return Rollout(observation, achieved, achieved, np.tanh(action), last, np.zeros_like(last))


def main() -> None:
    if "--distributed" in sys.argv:
        start_distributed()
    devices = make_devices(0)
    processes, rank = jax.process_count(), jax.process_index()
    learner = Learner(contract(), NETWORK, LEARNER, 100, devices)
    state = devices.replicate(learner.init(jax.random.key(0)))
    sizes = {"observation": observation_size(contract()), "goal": goal_size(contract()), "action": 7}
    buffer = devices.place(replay.create(capacity=STEPS, num_envs=ENVS, **sizes), axis=1)
    mine = slice(rank * ENVS // processes, (rank + 1) * ENVS // processes)
    seen = devices.join(jax.tree.map(lambda x: x[:, mine], rollout()), axis=1)
    buffer = jax.jit(replay.insert, donate_argnums=0)(buffer, seen)
    # The batch is given, not sampled: which environment a row comes from depends on the number of devices.
    sample = jax.jit(replay.sample, static_argnames=("batch_size", "gamma", "strata"))
    batch = sample(buffer, jax.random.key(3), batch_size=16, gamma=0.9, strata=4)
    update = jax.jit(learner.update)
    for number in range(UPDATES):
        state, metrics = update(state, batch, jax.random.key(number))
    weights = jax.tree_util.tree_leaves_with_path(devices.local((state.actor, state.critic)))
    found = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in weights}
    found |= {name: np.asarray(float(value)) for name, value in metrics.items()}
    if "--many" in sys.argv:
        # The whole program too, with its own sampling: it must run, whatever it draws.
        _, more = learner.update_many(state, buffer, jax.random.key(9), 3)
        assert all(np.isfinite(float(value)) for value in more.values())
    found["replay_bytes"] = np.asarray(buffer.observation.addressable_data(0).nbytes)
    np.savez(sys.argv[1], **found)


if __name__ == "__main__":
    main()
