from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim2real.backends import make_environment
from sim2real.backends.native import NativeEnvironment
from sim2real.contract import Contract
from sim2real.contract.interface import goal_size, observation_size, policy_inputs
from sim2real.randomisation.config import Randomisation
from sim2real.tasks.task import Task
from student import history
from student.config import StudentNetworkConfig
from student.policy import student_inputs, student_observation_size


def observations(contract: Contract, *shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=(*shape, observation_size(contract))).astype(np.float32)


@settings(max_examples=10, deadline=None)
@given(steps=st.integers(1, 4), seen=st.integers(0, 6))
def test_history_holds_the_newest_observations_newest_first(steps: int, seen: int, pose_contract: Contract) -> None:
    stream, now = observations(pose_contract, seen, 2), observations(pose_contract, 2)
    kept = history.empty(pose_contract, steps, 2)
    for observation in stream:
        kept = np.asarray(history.remember(pose_contract, steps, observation, kept))
    found = np.asarray(history.differences(pose_contract, steps, jnp.asarray(now), jnp.asarray(kept)))
    found = found.reshape(2, steps, -1)
    for back in range(steps):
        wanted = 5 * (stream[-1 - back] - now) if back < seen else np.zeros_like(now)
        np.testing.assert_allclose(found[:, back], wanted, atol=1e-5)


def test_environment_gives_each_policy_the_steps_before_and_forgets_at_the_end(pose_task: Task) -> None:
    contract, steps = pose_task.contract, 2
    env = history.remembering(NativeEnvironment(pose_task, num_envs=3, seed=0), steps)
    size, given = observation_size(contract), []

    def act(params: Any, observation: Any, goal: Any, key: Any) -> Any:
        jax.debug.callback(lambda x: given.append(np.array(x)), observation, ordered=True)
        return 0.3 * jnp.sin(jnp.arange(7) + 100 * observation[:, :1]) * params

    length = contract.timing.episode_steps
    rollout = env.rollout(act, np.float32(1), jax.random.key(0), length + 3)
    jax.effects_barrier()  # type: ignore[no-untyped-call]
    np.testing.assert_array_equal(rollout.observation, np.stack(given))
    seen, behind = rollout.observation[..., :size], rollout.observation[..., size:].reshape(-1, 3, steps, size + 1)
    for t in range(length + 3):
        for back in range(steps):
            inside = (t % length) > back
            wanted = np.concatenate([seen[t - 1 - back], np.ones((3, 1))], 1) if inside else np.zeros((3, size + 1))
            np.testing.assert_array_equal(behind[t, :, back], wanted.astype(np.float32))


def test_environment_resumes_with_its_memories(pose_task: Task) -> None:
    envs = [history.remembering(NativeEnvironment(pose_task, num_envs=2, seed=0), 2) for _ in range(2)]

    def act(params: Any, observation: Any, goal: Any, key: Any) -> Any:
        return 0.1 * jnp.tanh(observation[:, -7:])

    envs[0].rollout(act, None, jax.random.key(0), 5)
    envs[1].load_state_dict(envs[0].state_dict())
    left, right = (env.rollout(act, None, jax.random.key(1), 3) for env in envs)
    np.testing.assert_array_equal(left.observation, right.observation)


def test_without_a_memory_nothing_changes(pose_task: Task) -> None:
    env = NativeEnvironment(pose_task, num_envs=2, seed=0)
    assert history.remembering(env, 0) is env
    contract, config = pose_task.contract, StudentNetworkConfig()
    observation, goal = jnp.asarray(observations(contract, 4)), jnp.ones((4, goal_size(contract)))
    assert student_observation_size(contract, config) == observation_size(contract)
    np.testing.assert_array_equal(
        student_inputs(contract, config, observation, goal), policy_inputs(jnp, contract, observation, goal)
    )


@pytest.mark.parametrize("steps", [0, 2])
def test_velocities_that_are_withheld_make_no_difference(steps: int, pose_contract: Contract) -> None:
    config = StudentNetworkConfig(history_steps=steps, joint_velocity=False)
    size = observation_size(pose_contract)
    seen = np.random.default_rng(0).normal(size=(3, student_observation_size(pose_contract, config)))
    seen = seen.astype(np.float32)
    goal, changed, target = jnp.ones((3, goal_size(pose_contract))), seen.copy(), seen.copy()
    for row in range(steps + 1):
        first = size * row + max(0, row - 1) + 7
        changed[:, first : first + 7] += 1.0
        target[:, first + 7 : first + 14] += 1.0
    one, other, third = (student_inputs(pose_contract, config, jnp.asarray(x), goal) for x in (seen, changed, target))
    np.testing.assert_array_equal(one, other)
    assert np.abs(one - third).max() > 0.1


def test_teacher_can_be_told_the_truth_behind_what_the_student_sees(pose_task: Task) -> None:
    contract, steps, size = pose_task.contract, 2, observation_size(pose_task.contract)
    late = Randomisation.model_validate({"observation_delay_s": 0.08})  # two control steps

    def make(randomisation: Randomisation, *, true_too: bool, steps: int = 2) -> Any:
        env = make_environment(pose_task, "native", num_envs=3, seed=0, randomisation=randomisation)
        return history.remembering(env, steps, true_too=true_too)

    def act(params: Any, observation: Any, goal: Any, key: Any) -> Any:
        return jnp.full((3, 7), 0.4)

    told = make(late, true_too=True).rollout(act, None, jax.random.key(0), 6).observation
    plain = make(Randomisation(), true_too=False).rollout(act, None, jax.random.key(0), 6).observation
    told_only = make(late, true_too=True, steps=0)
    assert all(np.size(leaf) for leaf in jax.tree.leaves(told_only.state_dict()))  # checkpoints refuse empty arrays
    true = history.truth(contract, steps, told)
    np.testing.assert_allclose(true, plain[..., :size], atol=1e-5)
    position = slice(0, 7)
    np.testing.assert_allclose(told[3:, :, position], true[1:-2, :, position], atol=1e-5)  # two steps old
    assert np.abs(told[3:, :, position] - true[3:, :, position]).max() > 1e-3
    np.testing.assert_array_equal(history.truth(contract, steps, plain), plain[..., :size])
