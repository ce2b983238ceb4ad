from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import mujoco
import numpy as np
import pytest

from runtime import Controller, GoalPose
from runtime.goals.messages import GoalRefused
from runtime.inference.policy import Policy
from runtime.robot.mujoco_robot import robot_differences
from runtime.robot.rotations import angle_between_deg
from runtime.safety import SafetyConfig
from sim2real.contract import Contract
from sim2real.contract.interface import goal_errors, goal_vector
from sim2real.errors import ContractMismatch
from sim2real.tasks.task import Task
from tests.runtime.small_policy import expected, write_policy

GOAL = GoalPose(position=(0.45, 0.1, 0.45))
AT_ONCE = SafetyConfig(ramp_in_s=0)


def run(controller: Controller, model: mujoco.MjModel, data: mujoco.MjData, steps: int) -> np.ndarray:
    """Steps the loop of the docstring; returns the controls `[steps, nu]`."""
    controls = []
    for _ in range(steps):
        data.ctrl[:] = controller.step(data)
        controls.append(data.ctrl.copy())
        mujoco.mj_step(model, data)
    return np.array(controls)


def test_reaches_a_goal(policy: Policy, model: mujoco.MjModel, data: mujoco.MjData, contract: Contract) -> None:
    controller = Controller(policy)
    controller.set_goal(GOAL)
    run(controller, model, data, round(3 / model.opt.timestep))
    status = controller.status
    assert status.reached
    assert status.state == "active"
    assert status.goal_id == GOAL.id
    assert status.distance_m is not None
    assert status.distance_m < 0.01
    assert np.linalg.norm(data.site("tool").xpos - GOAL.position) < 0.01
    assert (status.reachability, status.reachable) == (0.5, contract.reachability.threshold <= 0.5)


def test_without_a_goal_it_holds_the_measured_position(
    policy: Policy, model: mujoco.MjModel, data: mujoco.MjData
) -> None:
    data.qpos[:] += 0.05
    start = data.qpos.copy()
    controller = Controller(policy)
    controls = run(controller, model, data, 50)
    np.testing.assert_array_equal(controls, np.tile(start, (50, 1)))
    assert controller.status.state == "idle"


def test_targets_move_as_in_training(policy: Policy, model: mujoco.MjModel, data: mujoco.MjData) -> None:
    contract, controller = policy.contract, Controller(policy, safety=AT_ONCE)
    substeps = contract.timing.substeps
    controller.set_goal(GOAL)
    previous = data.qpos.copy()
    for _ in range(4):
        mujoco.mj_kinematics(model, data)
        inputs = {
            "joint_position_target": previous[None].astype(np.float32),
            "end_effector_position": data.site("tool").xpos[None].astype(np.float32),
            "goal_position": np.array([GOAL.position], np.float32),
        }
        new = expected(contract, inputs)[0].astype(np.float64)
        wanted = [previous + (new - previous) * (k + 1) / substeps for k in range(substeps)]
        controls = run(controller, model, data, substeps)
        np.testing.assert_allclose(controls, wanted, atol=2e-7)
        np.testing.assert_allclose(controls[-1], new, atol=2e-7)
        previous = controls[-1]


def test_finer_physics_than_in_training_keeps_the_control_period(
    policy: Policy, model: mujoco.MjModel, data: mujoco.MjData, contract: Contract
) -> None:
    model.opt.timestep = contract.timing.physics_dt_s / 2
    controller = Controller(policy)
    controller.set_goal(GOAL)
    run(controller, model, data, 6 * contract.timing.substeps)
    assert controller.status.ticks == 3


def test_called_once_per_period_it_answers_the_whole_move(
    policy: Policy, model: mujoco.MjModel, data: mujoco.MjData, contract: Contract
) -> None:
    controller = Controller(policy)
    controller.set_goal(GOAL)
    controls = []
    for _ in range(3):
        data.ctrl[:] = controller.step(data)
        controls.append(data.ctrl.copy())
        for _ in range(contract.timing.substeps):
            mujoco.mj_step(model, data)
    assert controller.status.ticks == 3
    scale = np.array(contract.action.step_max)
    np.testing.assert_array_equal(controls[2], controller._new)
    assert (np.abs(controls[2] - controls[1]) <= 2 * scale + 1e-6).all()


def test_ticks_keep_their_grid_over_a_long_time(policy: Policy, data: mujoco.MjData, contract: Contract) -> None:
    controller = Controller(policy)
    data.time = 5000.0
    for _ in range(40 * contract.timing.substeps):
        controller.step(data)
        data.time += contract.timing.physics_dt_s
    assert controller.status.ticks == 40


def test_repeated_calls_at_one_time_change_nothing(policy: Policy, model: mujoco.MjModel, data: mujoco.MjData) -> None:
    controller = Controller(policy)
    controller.set_goal(GOAL)
    run(controller, model, data, 3)
    first = controller.step(data).copy()
    np.testing.assert_array_equal(controller.step(data), first)


def test_reset_of_the_simulation_begins_anew(policy: Policy, model: mujoco.MjModel, data: mujoco.MjData) -> None:
    controller = Controller(policy)
    controller.set_goal(GOAL)
    run(controller, model, data, 1000)
    mujoco.mj_resetDataKeyframe(model, data, 0)
    control = controller.step(data)
    scale = np.array(policy.contract.action.step_max)
    assert (np.abs(control - data.qpos) <= scale / policy.contract.timing.substeps + 1e-6).all()
    assert not controller.status.reached
    assert controller.status.goal_id == GOAL.id


def test_nan_in_the_simulation_holds_and_recovers(policy: Policy, model: mujoco.MjModel, data: mujoco.MjData) -> None:
    controller = Controller(policy)
    controller.set_goal(GOAL)
    substeps = policy.contract.timing.substeps
    held = run(controller, model, data, 5 * substeps)[-1]
    good = data.qpos.copy()
    data.qpos[2] = np.nan
    for _ in range(substeps):
        np.testing.assert_array_equal(controller.step(data), held)
        data.time += model.opt.timestep
    assert controller.status.state == "hold"
    assert controller.status.reason.startswith("a reading is not finite: joint_position fr3_joint")
    data.qpos[:] = good
    controller.step(data)
    assert controller.status.state == "ramp-in"
    run(controller, model, data, round(0.5 / model.opt.timestep))
    assert controller.status.state == "active"


def test_timeout_runs_in_simulated_time(policy: Policy, model: mujoco.MjModel, data: mujoco.MjData) -> None:
    controller = Controller(policy)
    controller.set_goal(GoalPose(position=GOAL.position, timeout_s=0.2))
    controls = run(controller, model, data, round(0.4 / model.opt.timestep))
    assert (controller.status.state, controller.status.reason) == ("hold", "the goal's timeout has passed")
    np.testing.assert_array_equal(controls[-1], controls[-20])


def test_stop_and_cancel(policy: Policy, model: mujoco.MjModel, data: mujoco.MjData) -> None:
    controller = Controller(policy)
    substeps = policy.contract.timing.substeps
    controller.set_goal(GOAL)
    run(controller, model, data, substeps)
    controller.cancel_goal()
    run(controller, model, data, substeps)
    assert (controller.status.state, controller.status.goal_id) == ("idle", "")
    controller.stop()
    controller.set_goal(GOAL)
    held = run(controller, model, data, 2 * substeps)
    assert controller.status.state == "stopped"
    np.testing.assert_array_equal(held[-1], held[0])


def test_emergency_stop_lets_the_arm_come_to_rest_and_latches(
    policy: Policy, model: mujoco.MjModel, data: mujoco.MjData
) -> None:
    controller = Controller(policy)
    controller.set_goal(GOAL)
    run(controller, model, data, 200)
    assert np.abs(data.qvel).max() > 0.2
    controller.estop()
    run(controller, model, data, 500)
    assert np.abs(data.qvel).max() < 0.01
    assert np.abs(data.ctrl - data.qpos).max() < 0.01
    controller.set_goal(GOAL)
    held = run(controller, model, data, 100)
    assert controller.status.state == "estop"
    assert np.abs(held[-1] - held[0]).max() < 0.005
    controller.release()
    controller.set_goal(GOAL)
    run(controller, model, data, round(3 / model.opt.timestep))
    assert controller.status.reached


def test_workspace_box_stops_the_tool(policy: Policy, model: mujoco.MjModel, data: mujoco.MjData) -> None:
    mujoco.mj_kinematics(model, data)
    home = data.site("tool").xpos.copy()
    box = SafetyConfig(workspace_min_m=tuple(home - 0.05), workspace_max_m=tuple(home + 0.05))
    controller = Controller(policy, safety=box)
    controller.set_goal(GoalPose(position=(0.5, 0.3, 0.4)))
    for _ in range(round(2 / model.opt.timestep)):
        data.ctrl[:] = controller.step(data)
        mujoco.mj_step(model, data)
        assert (np.abs(data.site("tool").xpos - home) < 0.06).all()
    assert (controller.status.state, controller.status.reason) == (
        "hold",
        "the policy leads the tool out of the workspace",
    )


def test_refused_goal_changes_nothing(policy: Policy) -> None:
    controller = Controller(policy)
    controller.set_goal(GOAL)
    with pytest.raises(GoalRefused):
        controller.set_goal(GoalPose(position=(5, 0, 0)))
    with pytest.raises(GoalRefused, match="length inf"):
        controller.set_goal(GOAL.model_copy(update={"orientation_wxyz": (1e308,) * 4}))
    assert controller.status.goal_id == GOAL.id


def test_other_actuators_and_joint_order_are_found_by_name(policy: Policy, task: Task, tmp_path: Path) -> None:
    tree = ElementTree.parse(task.mjcf_path)
    actuators = tree.getroot().find("actuator")
    assert actuators is not None
    shuffled = list(actuators)[::-1]
    for element in list(actuators):
        actuators.remove(element)
    for element in shuffled[:4]:
        actuators.append(element)
    world = tree.getroot().find("worldbody")
    assert world is not None
    box = ElementTree.fromstring(
        '<body name="slider" pos="2 2 1"><joint name="slide" type="slide"/><geom size="0.1"/></body>'
    )
    world.append(box)
    ElementTree.SubElement(actuators, "motor", name="extra", joint="slide")
    for element in shuffled[4:]:
        actuators.append(element)
    # Tendon 0 has the id of joint 0, which must not be mistaken for it.
    tendon = ElementTree.SubElement(ElementTree.SubElement(tree.getroot(), "tendon"), "fixed", name="fingers")
    ElementTree.SubElement(tendon, "joint", joint="slide", coef="1")
    ElementTree.SubElement(actuators, "motor", name="gripper", tendon="fingers")
    keyframes = tree.getroot().find("keyframe")
    assert keyframes is not None
    tree.getroot().remove(keyframes)
    path = tmp_path / "shuffled.xml"
    tree.write(path)
    shuffled_model = mujoco.MjModel.from_xml_path(str(path))
    shuffled_model.opt.timestep = policy.contract.timing.physics_dt_s
    names = [shuffled_model.actuator(i).name for i in range(shuffled_model.nu)]
    assert names != [joint.name for joint in policy.contract.robot.joints]

    def arm(model: mujoco.MjModel) -> tuple[mujoco.MjData, np.ndarray]:
        data, controller = mujoco.MjData(model), Controller(policy)
        for joint in policy.contract.robot.joints:
            data.joint(joint.name).qpos[0] = joint.home_position
        controller.set_goal(GOAL)
        return data, run(controller, model, data, 30)

    reference = task.model
    _, wanted = arm(reference)
    data, controls = arm(shuffled_model)
    assert data.actuator("extra").ctrl[0] == data.actuator("gripper").ctrl[0] == 0
    for index, joint in enumerate(policy.contract.joint_names):
        np.testing.assert_allclose(controls[:, names.index(joint)], wanted[:, index], atol=1e-6)


def mismatch(policy: Policy, model: mujoco.MjModel) -> str:
    with pytest.raises(ContractMismatch) as caught:
        Controller(policy).step(mujoco.MjData(model))
    return str(caught.value)


def test_one_gain_differs(policy: Policy, model: mujoco.MjModel) -> None:
    model.actuator_gainprm[3, 0], model.actuator_biasprm[3, 1] = 2600, -2600
    message = mismatch(policy, model)
    assert "robot.joints[3] fr3_joint4 stiffness: 2500.0 in the policy, 2600.0 in the model" in message


def test_one_damping_differs(policy: Policy, model: mujoco.MjModel) -> None:
    model.actuator_biasprm[0, 2] = -161
    assert "fr3_joint1 damping: 160.0 in the policy, 161.0 in the model" in mismatch(policy, model)


def test_one_limit_differs(policy: Policy, model: mujoco.MjModel) -> None:
    model.jnt_range[1] = -1.5, 1.5
    message = mismatch(policy, model)
    assert "fr3_joint2 position_min: -1.7837 in the policy, -1.5 in the model" in message
    assert "fr3_joint2 position_max: 1.7837 in the policy, 1.5 in the model" in message


def test_one_effort_limit_differs(policy: Policy, model: mujoco.MjModel) -> None:
    model.actuator_forcerange[6] = -10, 10
    assert "fr3_joint7 effort_max: 12.0 in the policy, 10.0 in the model" in mismatch(policy, model)


def test_motor_instead_of_servo(policy: Policy, model: mujoco.MjModel) -> None:
    model.actuator_biastype[2] = mujoco.mjtBias.mjBIAS_NONE
    assert "fr3_joint3 mode: 'position' in the policy, 'effort' in the model" in mismatch(policy, model)


def test_control_period_that_physics_cannot_keep(policy: Policy, model: mujoco.MjModel) -> None:
    model.opt.timestep = 0.003
    message = mismatch(policy, model)
    assert "timing.control_dt_s is 0.04 in the policy" in message
    assert "0.003" in message


def test_missing_joint_and_site(policy: Policy) -> None:
    message = mismatch(policy, mujoco.MjModel.from_xml_string("<mujoco><option timestep='0.004'/></mujoco>"))
    assert "robot.joints[0]: the MJCF has no joint or tendon 'fr3_joint1'; it has []" in message


def test_same_robot_has_no_differences(model: mujoco.MjModel, contract: Contract) -> None:
    assert robot_differences(model, contract) == []


def test_policy_in_another_joint_order_is_mapped_by_name(
    tmp_path: Path, contract: Contract, model: mujoco.MjModel, data: mujoco.MjData
) -> None:
    joints, scale = contract.robot.joints, contract.action.step_max
    turned = contract.model_copy(
        update={
            "robot": contract.robot.model_copy(update={"joints": joints[::-1]}),
            "action": contract.action.model_copy(update={"step_max": scale[::-1]}),
        }
    )
    controller = Controller(write_policy(tmp_path / "turned.onnx", turned))
    np.testing.assert_array_equal(controller.step(data), data.qpos)
    np.testing.assert_array_equal(controller._readings.joint_position, data.qpos[::-1])


def test_angle_agrees_with_training(contract: Contract) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        first, second = rng.normal(size=(2, 4))
        vectors = [goal_vector(np, contract, np.array([0, 0, 0, *quaternion])) for quaternion in (first, second)]
        _, wanted = goal_errors(contract, *vectors)
        assert angle_between_deg(first, second) == pytest.approx(float(wanted), abs=1e-4)
