"""What the MJCF does is in the contract, or refused by element, value and cure: in training and in serving alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest

from runtime.robot.mujoco_robot import MujocoRobot
from sim2real.backends.native import NativeEnvironment
from sim2real.contract import Contract, Joint
from sim2real.contract.interface import command
from sim2real.errors import ContractMismatch, ShoalError
from sim2real.robots.kinematics import Addresses
from sim2real.robots.servos import load_robot
from sim2real.tasks.task import Task, load_task
from tests.sim2real.planar_arm import MJCF, write_task

ELBOW = '<position name="elbow" joint="elbow" kp="50" kv="4" forcerange="-10 10"/>'
GENERAL = '<general name="elbow" joint="elbow" gainprm="50" biastype="affine" biasprm="{}" forcerange="-10 10"/>'
WINDING = '<tendon><fixed name="both"><joint joint="elbow" coef="1"/></fixed></tendon><actuator>'
COUPLED = '<equality><joint joint1="shoulder" joint2="elbow"/></equality><actuator>'


def changed(*changes: tuple[str, str]) -> str:
    """The planar arm with parts replaced, without the keyframe's controls."""
    mjcf = MJCF.replace(' ctrl="0.2 0.5"', "")
    for before, after in changes:
        assert before in mjcf
        mjcf = mjcf.replace(before, after)
    return mjcf


def elbow_with(attributes: str) -> tuple[str, str]:
    return ELBOW, ELBOW.replace("/>", f" {attributes}/>")


def task_of(folder: Path, mjcf: str, **changes: Any) -> Task:
    return load_task(write_task(folder, mjcf=mjcf, **changes))


UNSAID = [
    ([elbow_with('timeconst="0.1"')], "actuator 'elbow' has dynamics of its own (dyntype filterexact, dynprm 0.1)"),
    ([elbow_with('delay="0.01" nsample="8"')], "actuator 'elbow' has a delay of 0.01 s"),
    ([(ELBOW, GENERAL.format("3 -50 -4"))], "actuator 'elbow' pushes with 3 whatever it is told (biasprm[0])"),
    ([(ELBOW, GENERAL.format("0 20 0"))], "actuator 'elbow' is neither a position servo, a velocity servo nor a motor"),
    ([(ELBOW, '<damper name="elbow" joint="elbow" kv="4" ctrlrange="0 1"/>')], "'elbow' is neither a position servo"),
    ([(ELBOW, ELBOW.replace("position", "pid"))], "actuator 'elbow' takes 2 controls"),
    ([("-10 10", "0 10")], "pushes and pulls differently hard (forcerange 0 10)"),
    ([("-10 10", "-10 4")], "pushes and pulls differently hard (forcerange -10 4)"),
    ([("-2.5 2.5", '-2.5 2.5" actuatorfrcrange="-8 3')], "differently hard (the joint's actuatorfrcrange -8 3)"),
    ([('forcerange="-10 10"', "")], "nothing limits the force of actuator 'elbow'"),
    (
        [("<worldbody>", '<option actuatorgroupdisable="2"/><worldbody>'), elbow_with('group="2"')],
        "actuator 'elbow' is switched off: its group 2 is in <option actuatorgroupdisable>",
    ),
    (
        [("<worldbody>", '<option><flag actuation="disable"/></option><worldbody>')],
        '<option><flag actuation="disable"/>: no actuator gives any force',
    ),
    (
        [("<worldbody>", '<option><flag limit="disable"/></option><worldbody>')],
        '<option><flag limit="disable"/>: no joint keeps to its range',
    ),
    (
        [("<actuator>", WINDING + '<position name="pull" tendon="both" kp="5"/>')],
        "actuator 'pull', which no command reaches, pushes 'elbow'",
    ),
    ([("<actuator>", COUPLED)], "joint 'shoulder' is held to joint 'elbow' by an <equality>"),
    (
        [("</actuator>", '</actuator><sensor><jointpos name="q" joint="elbow" delay="0.01" nsample="9"/></sensor>')],
        "sensor 'q' with delay or nsample: MJX ignores it",
    ),
]


@pytest.mark.parametrize(("changes", "message"), UNSAID)
def test_what_no_contract_says_is_refused_everywhere(
    tmp_path: Path, changes: list[tuple[str, str]], message: str
) -> None:
    mjcf = changed(*changes)
    with pytest.raises(ShoalError) as refused:
        task_of(tmp_path, mjcf).contract  # noqa: B018 - the contract is built on first use
    assert message in str(refused.value)
    contract = task_of(tmp_path, changed()).contract
    with pytest.raises(ContractMismatch) as unserved:
        MujocoRobot(mujoco.MjModel.from_xml_string(mjcf), contract)
    assert message in str(unserved.value)


def test_all_problems_are_said_in_one_run(tmp_path: Path) -> None:
    mjcf = changed(elbow_with('timeconst="0.1"'), ("-10 10", "0 10"), ("<actuator>", COUPLED))
    with pytest.raises(ShoalError, match="task planar_reach has 5 problems") as refused:
        task_of(tmp_path, mjcf, robot__end_effector_site="toll", robot__home_keyframe="hoem").contract  # noqa: B018
    for said in ("timeconst", "forcerange 0 10", "<equality>", "did you mean 'tool'", "no keyframe 'hoem'"):
        assert said in str(refused.value)


def test_a_narrower_ctrlrange_is_the_range_of_commands(tmp_path: Path) -> None:
    task = task_of(tmp_path, changed(elbow_with('ctrlrange="-0.4 0.9"')))
    elbow = task.contract.robot.joints[1]
    assert (elbow.position_min, elbow.position_max) == (-2.5, 2.5)
    assert elbow.command_range == (-0.4, 0.9)
    at = np.array([[0.2, 0.88]], np.float32)
    told = command(np, task.contract, np.ones((1, 2)), {"joint_position_target": at, "joint_position": at})
    assert told[0, 1] == np.float32(0.9)
    environment = NativeEnvironment(task, num_envs=8, seed=0)
    assert (np.abs(environment.pool.joint_position[:, 1] - 0.25) < 0.65).all()
    wide = task_of(tmp_path, changed(elbow_with('ctrlrange="-3 3"'))).contract.robot.joints[1]
    assert (wide.command_min, wide.command_max) == (None, None)


def test_the_least_limit_of_effort_is_the_limit(tmp_path: Path) -> None:
    mjcf = changed(("-2.5 2.5", '-2.5 2.5" actuatorfrcrange="-6 6'))
    assert task_of(tmp_path, mjcf).contract.robot.joints[1].effort_max == 6


@pytest.mark.parametrize(
    ("attributes", "stiffness", "damping", "effort"),
    [('gear="-1.5"', 112.5, 9, 15), ('gear="0.5"', 12.5, 1, 5)],
)
def test_a_gear_is_taken_out(tmp_path: Path, attributes: str, stiffness: float, damping: float, effort: float) -> None:
    task = task_of(tmp_path, changed(elbow_with(attributes)))
    elbow = task.contract.robot.joints[1]
    assert (elbow.stiffness, elbow.damping, elbow.effort_max) == (stiffness, damping, effort)
    _assert_follows(task)


def test_controls_in_a_unit_of_their_own(tmp_path: Path) -> None:
    general = GENERAL.format("0 -50 -4").replace('gainprm="50"', 'gainprm="0.5" ctrlrange="-100 255"')
    task = task_of(tmp_path, changed((ELBOW, general)))
    elbow = task.contract.robot.joints[1]
    assert (elbow.stiffness, elbow.command_range) == (50, (-1.0, 2.5))
    _assert_follows(task)


def _assert_follows(task: Task) -> None:
    environment = NativeEnvironment(task, num_envs=1, seed=0)
    target = environment.readings()["joint_position"] + np.float32([[-0.05, 0.1]])
    for _ in range(150):
        environment.advance(target)
    np.testing.assert_allclose(environment.readings()["joint_position"], target, atol=0.01)


def test_slides_and_joints_that_turn_without_end(tmp_path: Path) -> None:
    slide = '<joint name="elbow" type="slide" axis="1 0 0" range="-0.1 0.6" armature="0.02"'
    task = task_of(tmp_path, changed(('<joint name="elbow" axis="0 0 1" range="-2.5 2.5" armature="0.02"', slide)))
    assert (task.contract.robot.joints[1].kind, task.contract.robot.joints[1].position_max) == ("slide", 0.6)
    _assert_follows(task)
    endless = task_of(tmp_path, changed((' range="-2.5 2.5"', ""), ('qpos="0.2 0.5"', 'qpos="0.2 7.5"')))
    elbow = endless.contract.robot.joints[1]
    assert (elbow.continuous, elbow.home_position, elbow.command_range) == (True, 7.5, (-np.inf, np.inf))
    assert Contract.model_validate_json(endless.contract.model_dump_json()) == endless.contract


@pytest.mark.parametrize(
    ("home", "expected"),
    [("home", (0.2, 0.5)), (0, (0.2, 0.5)), ({"elbow": -0.3}, (0.0, -0.3)), ({}, (0.0, 0.0))],
)
def test_home_is_a_keyframe_or_positions(tmp_path: Path, home: Any, expected: tuple[float, float]) -> None:
    joints = task_of(tmp_path, changed(), robot__home=home).contract.robot.joints
    assert tuple(joint.home_position for joint in joints) == expected


@pytest.mark.parametrize(
    ("home", "message"),
    [
        ("rest", "robot.home: the MJCF has no keyframe 'rest', it has 1 ('home'); name one of them, or write"),
        (3, "robot.home: the MJCF has no keyframe 3"),
        ({"elbwo": 1.0}, "robot.home: the MJCF has no joint 'elbwo'; did you mean 'elbow'?"),
        ({"elbow": [1.0, 2.0]}, "robot.home: joint 'elbow' has 1 numbers, got [1.0, 2.0]"),
        ({"elbow": 3.0}, "robot.home: 'elbow' stands at 3, outside its range [-2.5, 2.5]"),
    ],
)
def test_mistakes_in_home(tmp_path: Path, home: Any, message: str) -> None:
    with pytest.raises(ShoalError) as refused:
        task_of(tmp_path, changed(), robot__home=home).contract  # noqa: B018
    assert message in str(refused.value)


STANDING = changed(
    (
        '<site name="tool"',
        '<body name="hand"><joint name="grip" type="slide" range="0 0.1" damping="5"/>'
        '<geom size="0.01" mass="0.05" contype="0" conaffinity="0"/></body><site name="tool"',
    ),
    ("</actuator>", '<position name="grip" joint="grip" kp="500" ctrlrange="0 0.1"/></actuator>'),
    ('qpos="0.2 0.5"', 'qpos="0.2 0.5 0.08" ctrl="0.2 0.5 0.08"'),
)


def test_everything_else_starts_at_home_too(tmp_path: Path) -> None:
    task = task_of(tmp_path, STANDING)
    robot = task.contract.robot
    assert [(s.body, s.position) for s in robot.standing] == [("hand", (0.08,))]
    assert [(h.actuator, h.control) for h in robot.held] == [("grip", 0.08)]
    addresses = Addresses.of(task.model, task.contract.robot)
    assert addresses.home_data(task.model).qpos.tolist() == [0.2, 0.5, 0.08]
    environment = NativeEnvironment(task, num_envs=2, seed=0)
    assert (environment._qpos[:, 2] == 0.08).all()
    for _ in range(60):
        environment.advance(environment.readings()["joint_position_target"])
    np.testing.assert_allclose(environment._qpos[:, 2], 0.08, atol=1e-3)


MOTORS = changed(
    (
        '<position name="shoulder" joint="shoulder" kp="100" kv="8" forcerange="-20 20"/>',
        '<motor name="shoulder" joint="shoulder" gear="40" ctrlrange="-0.5 0.5"/>',
    ),
    (ELBOW, '<motor name="elbow" joint="elbow" gear="2" forcerange="-5 5"/>'),
    ("</actuator>", '</actuator><sensor><actuatorfrc name="f" actuator="elbow"/></sensor>'),
)
BARE = MOTORS[: MOTORS.index("<actuator>")] + MOTORS[MOTORS.index("<keyframe>") :]


@pytest.mark.parametrize("mjcf", [MOTORS, BARE])
def test_servos_are_declared_in_the_task(tmp_path: Path, mjcf: str) -> None:
    servos = {
        "shoulder": {"stiffness": 100, "damping": 8, "effort_max": 20},
        "elbow": {"stiffness": 50, "damping": 4, "effort_max": 10},
    }
    task = task_of(tmp_path, mjcf, robot__servo=servos)
    plain = task_of(tmp_path, changed()).contract.robot.joints
    declared = task_of(tmp_path, mjcf, robot__servo=servos).contract.robot.joints
    assert [_but_declared(joint) for joint in declared] == [_but_declared(joint) for joint in plain]
    assert all(joint.declared_servo for joint in declared)
    assert task.model.nu == 2
    _assert_follows(task_of(tmp_path, mjcf, robot__servo=servos))


def _but_declared(joint: Joint) -> dict[str, Any]:
    return joint.model_dump(exclude={"declared_servo"})


def test_one_servo_for_all_takes_its_limit_from_the_motors(tmp_path: Path) -> None:
    task = task_of(tmp_path, MOTORS, robot__servo={"stiffness": 80, "damping": 6})
    assert [joint.effort_max for joint in task.contract.robot.joints] == [20, 10]
    with pytest.raises(ShoalError, match=r"robot\.servo: nothing limits the force at 'shoulder'; give its effort_max"):
        task_of(tmp_path, BARE, robot__servo={"stiffness": 80, "damping": 6}).contract  # noqa: B018


def test_the_runtime_makes_the_same_model_of_the_same_file(tmp_path: Path) -> None:
    task = task_of(tmp_path, MOTORS, robot__servo={"stiffness": 80, "damping": 6})
    robot = MujocoRobot(load_robot(task.mjcf_path, task.contract.robot, None), task.contract)
    assert robot.addresses.actuator.tolist() == [0, 1]
    with pytest.raises(ContractMismatch, match="shoulder mode: 'position' in the policy, 'effort' in the model"):
        MujocoRobot(mujoco.MjModel.from_xml_string(MOTORS), task.contract)


def test_a_servo_of_an_unknown_joint_is_named(tmp_path: Path) -> None:
    with pytest.raises(ShoalError, match=r"robot\.servo: the MJCF has no joint or tendon 'elbo'; did you mean 'elbow'"):
        task_of(tmp_path, MOTORS, robot__servo={"elbo": {"stiffness": 1, "damping": 1}}).contract  # noqa: B018


def test_a_body_can_be_the_tool(tmp_path: Path) -> None:
    task = task_of(tmp_path, changed(), robot__end_effector_site="lower")
    assert task.contract.robot.end_effector_frame == "lower"
    assert load_robot(task.mjcf_path, task.contract.robot, None).site("lower").bodyid[0] == task.model.body("lower").id
