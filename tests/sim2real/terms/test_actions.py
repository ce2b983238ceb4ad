"""Every kind of action that ships: within all limits, the same in NumPy, JAX and the graph, and what robots do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import mujoco
import numpy as np
import pytest
from jax2onnx import to_onnx

from runtime.inference.onnx_session import onnxruntime
from sim2real.backends.native import NativeEnvironment
from sim2real.contract import Contract
from sim2real.contract.interface import action_size, command
from sim2real.contract.policy_file import command_output
from sim2real.errors import ShoalError
from sim2real.robots.kinematics import ToolChain
from sim2real.tasks.goal_pool import sample_goal_pool
from sim2real.tasks.task import Task, load_task
from sim2real.terms.actions import JointPositionAboutGait, ToolIncrement
from sim2real.terms.actions.tool import solve
from sim2real.terms.motion import PhaseClock
from tests.sim2real.planar_arm import MJCF, TASK, write_task

MOTORS = MJCF.replace(
    '<position name="shoulder" joint="shoulder" kp="100" kv="8" forcerange="-20 20"/>',
    '<motor name="shoulder" joint="shoulder" gear="20" ctrlrange="-1 1"/>',
).replace(
    '<position name="elbow" joint="elbow" kp="50" kv="4" forcerange="-10 10"/>',
    '<motor name="elbow" joint="elbow" gear="10" ctrlrange="-1 1"/>',
)
WHEELS = MJCF.replace("<position", "<velocity").replace('kp="100" kv="8"', 'kv="8"').replace('kp="50" kv="4"', 'kv="4"')
COMMANDED = [*TASK["readings"][:2], "joint_command", *TASK["readings"][3:]]
CLOCK = {"kind": "phase_clock", "period_s": 0.5}
GAIT = {
    "kind": "joint_position_about_gait",
    "harmonics": [{"amplitude": [0.2, 0.1], "phase": [0.0, 0.5]}, {"amplitude": [0.0, 0.1], "phase": [0.25, 0.25]}],
    "reach": 0.3,
}
SWINGING = GAIT | {"swing": {"amplitude": [0.0, 0.2], "phase": [0.0, 0.25]}}
GROUPS = {
    "kind": "groups",
    "groups": [
        {"joints": ["elbow"], "action": "gripper"},
        {"joints": ["shoulder"], "action": "joint_position_increment"},
    ],
}
KINDS: dict[str, tuple[str, list[Any], Any]] = {
    "joint_position_increment": (MJCF, TASK["readings"], "joint_position_increment"),
    "joint_position_about_home": (MJCF, TASK["readings"], "joint_position_about_home"),
    "joint_position_about_gait": (MJCF, [*TASK["readings"], CLOCK], GAIT),
    "joint_position_about_gait, swinging": (MJCF, [*TASK["readings"], CLOCK], SWINGING),
    "joint_velocity": (WHEELS, COMMANDED, {"kind": "joint_velocity", "velocity_share": 0.5}),
    "joint_effort": (MOTORS, COMMANDED, "joint_effort"),
    "gripper": (MJCF, TASK["readings"], "gripper"),
    "groups": (MJCF, TASK["readings"], GROUPS),
    "tool_increment": (MJCF, TASK["readings"], "tool_increment"),
    "tool_increment, not turned": (MJCF, TASK["readings"], {"kind": "tool_increment", "angular_max_rad": None}),
}


def task_of(kind: str, folder: Path) -> Task:
    mjcf, readings, action = KINDS[kind]
    return load_task(write_task(folder, mjcf=mjcf, readings=readings, action=action))


@pytest.fixture(params=KINDS)
def task(request: pytest.FixtureRequest, tmp_path: Path) -> Task:
    return task_of(request.param, tmp_path)


def drawn(contract: Contract, count: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    values = {reading.name: reading.sample(rng, contract, count) for reading in contract.readings}
    values[contract.action.previous] = contract.action.sample_previous(rng, contract, values["joint_position"])
    return {name: value.astype(np.float32) for name, value in values.items()}


def test_commands_keep_all_limits_and_are_the_same_in_numpy_jax_and_the_graph(task: Task) -> None:
    contract = task.contract
    assert Contract.model_validate_json(contract.model_dump_json()) == contract
    readings, size = drawn(contract, 64), action_size(contract)
    action = np.random.default_rng(1).uniform(-1.5, 1.5, (64, size)).astype(np.float32)
    told = command(np, contract, action, readings)
    assert told.shape == (64, 2)
    low, high = contract.command_limits
    assert ((told >= np.float32(low)) & (told <= np.float32(high))).all()
    step = np.array(contract.action.step_max)
    previous = np.clip(readings[contract.action.previous], low, high)
    assert (np.abs(told - previous) <= step + 1e-5).all()
    np.testing.assert_allclose(command(jnp, contract, jnp.asarray(action), readings), told, atol=1e-5)

    names = list(readings)
    model = to_onnx(
        lambda action, *values: command(jnp, contract, action, dict(zip(names, values, strict=True))),
        inputs=[("batch", size), *(("batch", reading.size) for reading in contract.readings)],
        input_names=["action", *names],
        opset=21,
    )
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    used = {node.name for node in session.get_inputs()}
    inputs = {name: value for name, value in ({"action": action} | readings).items() if name in used}
    np.testing.assert_allclose(session.run(None, inputs)[0], told, atol=1e-5)


def test_a_policy_can_drive_a_robot_with_it(task: Task) -> None:
    env = NativeEnvironment(task, num_envs=3, seed=0, pool=sample_goal_pool(task, size=10, seed=0))
    size = action_size(task.contract)
    before = env.true_readings()["joint_position"].copy()
    rollout = env.rollout_with(lambda observation, goal: np.full((3, size), 0.9, np.float32), 5)
    assert np.isfinite(rollout.observation).all()
    assert np.abs(env.true_readings()["joint_position"] - before).max() > 1e-3


def test_drives_that_are_told_something_else_are_refused(tmp_path: Path) -> None:
    for mjcf, action, said in (
        (MOTORS, "joint_position_increment", r"'shoulder' is told forces, and the action .* gives positions; declare"),
        (WHEELS, "gripper", "'elbow' is told velocities, and the action gripper gives positions"),
        (MJCF, "joint_effort", "'shoulder' is told positions, and the action joint_effort gives forces; make it"),
    ):
        with pytest.raises(ShoalError, match=said):
            _ = load_task(write_task(tmp_path, mjcf=mjcf, readings=COMMANDED, action=action)).contract


def test_a_servo_that_the_task_declares_is_said_to_stand_in_the_way(tmp_path: Path) -> None:
    servo = {"stiffness": 50, "damping": 4, "effort_max": 9}
    path = write_task(tmp_path, mjcf=WHEELS, readings=COMMANDED, action="joint_velocity", robot__servo=servo)
    with pytest.raises(ShoalError, match=r"a position servo for 'shoulder' \(robot.servo\).*`servo: null` where it is"):
        _ = load_task(path).contract
    freed = tmp_path / "freed.yaml"
    freed.write_text("name: freed\nextends: task.yaml\nrobot: {servo: null}\n")
    assert {joint.mode for joint in load_task(freed).contract.robot.joints} == {"velocity"}


def test_what_drives_are_told_gives_the_graphs_output_its_name(tmp_path: Path) -> None:
    names = {
        kind: command_output(task_of(kind, tmp_path).contract) for kind in ("joint_velocity", "joint_effort", "gripper")
    }
    assert names == {
        "joint_velocity": "joint_velocity_command",
        "joint_effort": "joint_effort_command",
        "gripper": "joint_position_command",
    }


def test_a_velocity_is_held_and_an_effort_accelerates(tmp_path: Path) -> None:
    for kind, speed in (("joint_velocity", 0.5 * 3.0), ("joint_effort", None)):
        task = task_of(kind, tmp_path)
        env = NativeEnvironment(task, num_envs=1, seed=0, pool=sample_goal_pool(task, size=5, seed=0))
        env.place(np.arange(1), np.array([[-1.5, 0.0]]), np.zeros((1, 3)))
        assert not env.readings()["joint_command"].any(), "at rest nothing is told"
        push = np.array([[0.2 if speed is None else 1.0, 0.0]], np.float32)
        env.rollout_with(lambda observation, goal, push=push: push, 25)
        found = float(env.true_readings()["joint_velocity"][0, 0])
        if speed is None:
            effort = 0.2 * task.contract.robot.joints[0].effort_max
            np.testing.assert_allclose(env.readings()["joint_command"][0], [effort, 0.0], atol=1e-6)
            assert found > 3.0
        else:
            assert found == pytest.approx(speed, rel=0.1)


GRIPPER = """
<mujoco model="gripper">
  <compiler angle="radian" autolimits="true"/>
  <option gravity="0 0 0"/>
  <worldbody>
    <body name="wrist"><joint name="wrist" axis="0 0 1" range="-2 2" armature="0.01"/><geom size="0.02" mass="0.2"/>
      <site name="tool" pos="0.1 0 0"/>
      <body name="left"><joint name="left" type="slide" axis="0 1 0" range="0 0.04"/>
        <geom size="0.01" pos="0.1 0.02 0" mass="0.05"/></body>
      <body name="right"><joint name="right" type="slide" axis="0 -1 0" range="0 0.04"/>
        <geom size="0.01" pos="0.1 -0.02 0" mass="0.05"/></body>
    </body>
  </worldbody>
  <tendon><fixed name="fingers"><joint joint="left" coef="0.5"/><joint joint="right" coef="0.5"/></fixed></tendon>
  <actuator>
    <position name="wrist" joint="wrist" kp="20" kv="2" forcerange="-5 5"/>
    <position name="fingers" tendon="fingers" kp="200" kv="20" forcerange="-20 20"/>
  </actuator>
  <keyframe><key name="home" qpos="0 0.02 0.02" ctrl="0 0.02"/></keyframe>
</mujoco>
"""


def test_a_gripper_on_a_tendon_opens_and_closes(tmp_path: Path) -> None:
    robot = TASK["robot"] | {"joints": ["wrist", "fingers"], "velocity_max": [3.0, 0.2]}
    action = {
        "kind": "groups",
        "groups": [
            {"joints": ["wrist"], "action": "joint_position_increment"},
            {"joints": ["fingers"], "action": {"kind": "gripper", "closed_at": [0.005], "velocity_fraction": 1.0}},
        ],
    }
    goal = TASK["goal"] | {"position_min_m": [-0.5, -0.5, -0.1]}
    resets = [{"kind": "around_home", "half_range": [0.5, 0.01]}]
    task = load_task(write_task(tmp_path, mjcf=GRIPPER, robot=robot, action=action, goal=goal, resets=resets))
    env = NativeEnvironment(task, num_envs=1, seed=0, pool=sample_goal_pool(task, size=5, seed=0))
    widths = []
    for told in (0.1, -0.1):
        env.rollout_with(lambda observation, goal, told=told: np.array([[0.0, told]], np.float32), 40)
        widths.append(float(env.true_readings()["joint_position"][0, 1]))
    assert widths == pytest.approx([0.04, 0.005], abs=2e-3)


def test_a_gripper_refuses_what_its_joint_cannot_be_told(tmp_path: Path) -> None:
    with pytest.raises(
        ShoalError, match=r"gripper.open_at \[9.0, 0.5\] must be .* that of 'shoulder' within \[-2, 2\]"
    ):
        _ = load_task(write_task(tmp_path, action={"kind": "gripper", "open_at": [9.0, 0.5]})).contract


def test_every_joint_belongs_to_one_group(tmp_path: Path) -> None:
    twice = [{"joints": ["elbow", "shoulder"], "action": "gripper"}, {"joints": ["elbow"], "action": "gripper"}]
    with pytest.raises(ShoalError, match="joint 'elbow' is in 2 groups of the action; put it into one"):
        _ = load_task(write_task(tmp_path, action={"kind": "groups", "groups": twice})).contract
    with pytest.raises(ShoalError, match="velocity_fraction belongs into the actions of the groups"):
        load_task(write_task(tmp_path, action=GROUPS | {"velocity_fraction": 0.3}))


def test_the_jacobian_is_mujocos() -> None:
    task = load_task("franka_pose")
    model, contract = task.model, task.contract
    data, site = mujoco.MjData(model), model.site(contract.robot.end_effector_frame).id
    joints = np.random.default_rng(0).uniform(*contract.position_limits, (5, 7))
    found = ToolChain.of(model, contract.robot).jacobian(np, joints.astype(np.float32))
    for row, ours in zip(joints, found, strict=True):
        data.qpos[:7] = row
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        theirs = np.zeros((6, model.nv))
        mujoco.mj_jacSite(model, data, theirs[:3], theirs[3:], site)
        np.testing.assert_allclose(ours, theirs[:, :7], atol=1e-5)


def test_elimination_solves_positive_definite_systems() -> None:
    rng = np.random.default_rng(0)
    root, right = rng.normal(size=(50, 6, 6)), rng.normal(size=(50, 6, 1))
    system = root @ root.transpose(0, 2, 1) + 0.05 * np.eye(6)
    np.testing.assert_allclose(system @ solve(np, system, right), right, atol=1e-8)


def test_the_tool_of_a_robot_goes_where_it_is_told(tmp_path: Path) -> None:
    data = load_task("franka_pose").config.model_dump()
    task = load_task("franka_pose")
    action = ToolIncrement(linear_max_m=0.008, angular_max_rad=0.05, damping=0.02).completed(task.scene)
    contract = task.contract.model_copy(update={"action": action})
    assert data["action"]["kind"] != action.kind
    env = NativeEnvironment(task, num_envs=1, seed=0, pool=sample_goal_pool(task, size=5, seed=0))
    env.place(np.arange(1), task.home.qpos[None], env.goals())
    before = {name: value.copy() for name, value in env.true_readings().items()}
    along = np.array([[0.5, 0.0, -1.0, 0.0, 0.0, 0.0]], np.float32)
    for _ in range(20):
        env.advance(command(np, contract, along, env.readings()))
    for _ in range(10):
        env.advance(env.readings()["joint_position_target"])
    after = env.true_readings()
    moved = (after["end_effector_position"] - before["end_effector_position"])[0]
    np.testing.assert_allclose(moved, [0.08, 0.0, -0.16], atol=0.015)
    same = np.abs((after["end_effector_orientation"] * before["end_effector_orientation"]).sum())
    assert np.degrees(2 * np.arccos(min(1.0, same))) < 3.0


def test_legs_follow_the_declared_motion_where_the_policy_wants_nothing(tmp_path: Path) -> None:
    task = task_of("joint_position_about_gait", tmp_path)
    env = NativeEnvironment(task, num_envs=2, seed=0, pool=sample_goal_pool(task, size=5, seed=0))
    clock, action = task.contract.reading("phase_clock"), task.contract.action
    assert isinstance(clock, PhaseClock)
    assert isinstance(action, JointPositionAboutGait)
    env.place(np.arange(2), np.array([[0.2, 0.55]] * 2), env.goals())
    home = np.array([joint.home_position for joint in task.contract.robot.joints])
    for step in range(40):
        phase = 2 * np.pi * step * 0.02 / 0.5
        np.testing.assert_allclose(env.readings()["phase_clock"], [[np.sin(phase), np.cos(phase)]] * 2, atol=1e-5)
        told = command(np, task.contract, np.zeros((2, 2), np.float32), env.readings())
        wanted = home + np.array([0.2 * np.sin(phase), -0.1 * np.sin(phase) + 0.1 * np.cos(2 * phase)])
        within = np.abs(wanted - env.readings()["joint_position_target"]) < np.array(action.step_max)
        np.testing.assert_allclose(told[within], np.broadcast_to(wanted, (2, 2))[within], atol=1e-5)
        env.advance(told)
    assert "phase_clock" not in task.contract.measured.sizes, "no robot has to deliver it"


def test_an_action_of_its_own_scales_the_swing_of_a_joint_and_files_without_one_stay_as_they_were(
    tmp_path: Path,
) -> None:
    plain = task_of("joint_position_about_gait", tmp_path).contract
    contract = task_of("joint_position_about_gait, swinging", tmp_path).contract
    assert (action_size(plain), action_size(contract)) == (2, 3)
    assert "swing" not in plain.model_dump()["action"]
    assert contract.model_dump(mode="json")["action"]["swing"]["amplitude"] == [0.0, 0.2]
    readings = drawn(contract, 8)
    phase = np.linspace(0, 2 * np.pi, 8)
    readings["phase_clock"] = np.stack([np.sin(phase), np.cos(phase)], axis=-1).astype(np.float32)
    share = np.linspace(-1, 1, 8)
    action = np.stack([0 * share, 0.5 + 0 * share, share], axis=-1).astype(np.float32)
    wanted = contract.action.wanted(np, contract, action, readings)
    own = plain.action.wanted(np, plain, action[:, :2], readings)
    np.testing.assert_allclose(wanted - own, np.stack([0 * share, 0.2 * share * np.cos(phase)], axis=-1), atol=1e-5)


@pytest.mark.parametrize("field", ["harmonics", "swing"])
def test_a_motion_for_another_number_of_joints_is_refused(field: str, tmp_path: Path) -> None:
    other = {"amplitude": [0.1] * 3, "phase": [0.0] * 3}
    action = SWINGING | {field: [other] if field == "harmonics" else other}
    with pytest.raises(ShoalError, match=r"harmonics, swing and reach have .*3.* entries for 2 joints"):
        _ = load_task(write_task(tmp_path, mjcf=MJCF, readings=[*TASK["readings"], CLOCK], action=action)).contract


def test_hips_that_swing_in_time_with_the_ants_gait_walk_and_faster_the_wider_they_swing() -> None:
    """What a policy has to find is a matter of degree, so that what is learnt from little motion holds for more."""
    task, shares = load_task("ant"), np.array([[0.0], [0.5], [1.0]], np.float32)
    contract = task.contract
    env = NativeEnvironment(task, num_envs=len(shares), seed=0)
    env.place(np.arange(len(shares)), np.tile(task.scene.home, (len(shares), 1)), env.goals().copy())
    # Forwards is clockwise for legs on the left and the other way on the right; diagonal legs swing together.
    swing = np.array([-1, 0, -1, 0, 1, 0, 1, 0], np.float32)
    for _ in range(100):
        readings = env.true_readings()
        action = shares * swing * readings[contract.action.clock][:, :1]
        env.advance(contract.action.command(np, contract, action, readings))
        assert not env.terminated.any()
    still, slow, fast = np.linalg.norm(env.true_readings()["base_position"], axis=-1)
    assert still < 0.3
    assert slow > 0.8
    assert fast > 1.5 * slow


def test_a_quadrupeds_constant_actions_walk_forwards_backwards_and_turn_and_none_trots_on_the_spot() -> None:
    """An untrained policy gets about by it: what it says differs little from one step to the next."""
    task = load_task("quadruped_walk")
    contract = task.contract
    thighs = np.array([[0, 1, 0, 1, 0, 1, 0, 1], [0, 1, 0, -1, 0, 1, 0, -1]], np.float32)
    swings = np.concatenate([np.zeros((1, 8)), 0.8 * thighs[:1], -0.8 * thighs[:1], -0.8 * thighs[1:]])
    action = np.concatenate([np.zeros((4, 12)), swings], axis=-1).astype(np.float32)
    env = NativeEnvironment(task, num_envs=4, seed=0)
    env.place(np.arange(4), np.tile(task.scene.home, (4, 1)), env.goals().copy())
    start = env.true_readings()["base_pose"].copy()
    for _ in range(100):
        env.advance(contract.action.command(np, contract, action, env.true_readings()))
        assert not env.terminated.any()
    x, y, turn = (env.true_readings()["base_pose"] - start).T
    assert np.hypot(x[0], y[0]) < 0.3
    assert x[1] > 0.7
    assert x[2] < -0.7
    assert turn[3] > 1.0
