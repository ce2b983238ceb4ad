"""Goals sent one after another: when the next one comes, and what counts."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.policies.goal_sequences import Sequences, run_sequences
from sim2real.contract.interface import command
from sim2real.tasks.task import Task, load_task


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task("franka_reach")


def test_an_arm_that_stands_still_misses_every_goal(task: Task) -> None:
    seen = run_sequences(
        task,
        lambda readings, request: readings["joint_position_target"],
        arms=3,
        goals=2,
        timeout_s=0.4,
        seed=0,
    )
    assert not seen.reached.any()
    assert seen.longest_miss() == 2
    home = [joint.home_position for joint in task.contract.robot.joints]
    np.testing.assert_allclose(seen.final_joint_position, np.broadcast_to(home, (3, 2, 7)), atol=1e-2)


def test_an_arm_that_follows_the_jacobian_reaches_its_goals(task: Task) -> None:
    """Damped least squares on finite differences of the tool position, a controller that learns nothing."""
    import mujoco

    contract, model = task.contract, task.model
    data, jacobian = mujoco.MjData(model), np.zeros((3, model.nv))
    site = model.site(contract.robot.end_effector_frame).id

    def targets(readings: dict[str, np.ndarray], request: np.ndarray) -> np.ndarray:
        action = np.zeros_like(readings["joint_position"])
        for arm, joint_position in enumerate(readings["joint_position"]):
            data.qpos[:7] = joint_position
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            mujoco.mj_jacSite(model, data, jacobian, None, site)
            error = request[arm, :3] - readings["end_effector_position"][arm]
            step = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + 1e-2 * np.eye(3), error)
            action[arm] = 0.5 * step / np.array(contract.action.step_max)
        return command(np, contract, action, readings)

    seen = run_sequences(task, targets, arms=4, goals=3, timeout_s=5.0, seed=0)
    assert seen.reached.mean() > 0.7


def test_sums_of_a_known_table() -> None:
    reached = np.array([[1, 0, 0, 1], [1, 1, 1, 1], [1, 1, 0, 1]], bool)
    seen = Sequences(reached, np.zeros((3, 4, 7)), np.zeros((3, 4, 3)))
    numbers = seen.as_dict()
    assert numbers["reached"] == 0.75
    assert numbers["all_but_one"] == pytest.approx(2 / 3)
    assert numbers["longest_miss"] == 2
    assert numbers["worst_sequence"] == 2
    assert numbers["reached_after_missed"] == pytest.approx(2 / 3)
    assert numbers["reached_after_reached"] == pytest.approx(4 / 6)
    assert Sequences(reached[1:2], np.zeros((1, 4, 7)), np.zeros((1, 4, 3))).as_dict()["reached_after_missed"] is None
