"""A robot in a mirror does what its image does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sim2real.backends import make_environment
from sim2real.contract import Contract
from sim2real.contract.mirror import Mirror, in_a_mirror
from sim2real.errors import ShoalError
from sim2real.tasks.task import Task, load_task
from sim2real.terms.sides import Sides

ROBOTS = 4
STEPS = 12


@pytest.fixture(scope="module", params=["quadruped_walk", "mobile_base"])
def task(request: pytest.FixtureRequest) -> Task:
    """Legs and wheels."""
    return load_task(request.param)


@pytest.fixture(scope="module")
def mirror(task: Task) -> Mirror:
    return in_a_mirror(task.teacher_contract, task.scene)


def test_twice_is_as_before(task: Task, mirror: Mirror) -> None:
    rng = np.random.default_rng(0)
    for mirrored in (mirror.observation, mirror.action, mirror.goal):
        vector = rng.normal(size=(5, len(mirrored.order))).astype(np.float32)
        np.testing.assert_array_equal(mirrored(mirrored(vector)), vector)
        assert not np.allclose(mirrored(vector), vector)
    assert len(mirror.observation.order) == task.teacher_contract.observation.size


def image(task: Task, qpos: np.ndarray) -> np.ndarray:
    """Positions in the mirror, `[N, nq]`."""
    scene, there = task.scene, qpos.copy()
    there[:, scene.addresses.qpos] = Sides.of(scene).joints(qpos[:, scene.addresses.qpos])
    for joint in range(scene.model.njnt):
        if scene.model.jnt_type[joint] == 0:
            at = scene.model.jnt_qposadr[joint]
            there[:, at : at + 7] = qpos[:, at : at + 7] * (1, -1, 1, 1, -1, 1, -1)
    return there


def test_robots_do_what_their_images_do(task: Task, mirror: Mirror) -> None:
    """Physics knows no sides: from mirrored starts, by mirrored actions, every observation stays the mirrored one."""
    env: Any = make_environment(task, "native", num_envs=2 * ROBOTS, seed=0, privileged=True)
    rows = np.arange(ROBOTS)
    start = env.pool.start[rows]
    env.place(rows, start, env.pool.goal[rows])
    env.place(rows + ROBOTS, image(task, start), env.pool.goal[rows])
    clocks = [reading.period_s for reading in task.contract.readings if reading.kind == "phase_clock"]
    env._batch.bind("time")[ROBOTS:] = clocks[0] / 2 if clocks else 0.0
    rng = np.random.default_rng(1)

    def act(observation: np.ndarray, goal: np.ndarray) -> np.ndarray:
        action = rng.uniform(-1, 1, (ROBOTS, len(mirror.action.order))).astype(np.float32)
        return np.concatenate([action, mirror.action(action)])

    rollout = env.rollout_with(act, STEPS)
    here, there = rollout.observation[:, :ROBOTS], rollout.observation[:, ROBOTS:]
    np.testing.assert_allclose(mirror.observation(here), there, atol=5e-3)
    np.testing.assert_allclose(mirror.goal(rollout.achieved[:, :ROBOTS]), rollout.achieved[:, ROBOTS:], atol=5e-3)
    assert np.abs(here - there).max() > 0.1
    assert np.abs(here[-1] - here[0]).max() > 0.1


def changed(contract: Contract, **fields: Any) -> Contract:
    return contract.model_copy(update=fields)


def refusal(task: Task, contract: Contract) -> str:
    with pytest.raises(ShoalError) as caught:
        in_a_mirror(contract, task.scene)
    return str(caught.value)


def test_what_has_no_image_is_refused() -> None:
    task = load_task("quadruped_walk")
    contract = task.teacher_contract
    action, robot = contract.action, contract.robot
    reach = action.model_copy(update={"reach": (0.2, *action.reach[1:])})
    assert "joint_position_about_gait.reach is not alike on both sides" in refusal(
        task, changed(contract, action=reach)
    )
    phase = action.harmonics[0].model_copy(update={"phase": (0.0,) * 12})
    trotless = action.model_copy(update={"harmonics": (phase,)})
    assert "harmonic 1 of one side is not that of the other" in refusal(task, changed(contract, action=trotless))
    uneven = (robot.joints[0].model_copy(update={"position_max": 1.2}), *robot.joints[1:])
    found = refusal(task, changed(contract, robot=robot.model_copy(update={"joints": uneven})))
    assert "joint_position" in found
    assert "other ranges on one side" in found
    fewer = tuple(reading for reading in contract.readings if reading.name != "front_left_foot_height")
    assert "no reading tells the same of its counterpart 'front_left_foot'" in refusal(
        task, changed(contract, readings=fewer)
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("franka_reach", "have no counterpart of the same axis, mass and inertia"),
        ("mobile_base_maze", "a map's walls are not alike"),
        ("gripper_pick", "what becomes of the features difference is not known"),
    ],
)
def test_robots_without_sides_are_refused(name: str, reason: str) -> None:
    task = load_task(name)
    with pytest.raises(ShoalError, match=reason):
        in_a_mirror(task.teacher_contract, task.scene)
