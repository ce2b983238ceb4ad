"""A robot's file becomes a task whose contract can be built and whose drives hold, with every guess said."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest

from sim2real.actuators.servo_simulation import simulate_drives
from sim2real.backends.native import NativeEnvironment
from sim2real.errors import ShoalError
from sim2real.new_task.proposal import Kind, propose
from sim2real.new_task.source import read_source
from sim2real.new_task.write import write_task
from sim2real.tasks.goal_pool import sample_goal_pool
from sim2real.tasks.task import Task, load_task
from sim2real.world.contacts import HomeContacts
from tests.sim2real.planar_arm import MJCF

ACTUATORS = MJCF[MJCF.index("<actuator>") : MJCF.index("<keyframe>")]
BARE = MJCF.replace(ACTUATORS, "").replace(' ctrl="0.2 0.5"', "")
MOTORS = BARE.replace(
    "<keyframe>",
    '<actuator><motor joint="shoulder" gear="40" ctrlrange="-0.5 0.5"/>'
    '<motor joint="elbow" ctrlrange="-9 9"/></actuator>'
    "<keyframe>",
)
URDF = """
<robot name="swing">
  <link name="base"/>
  <link name="arm">
    <inertial><origin xyz="0.2 0 0"/><mass value="1"/>
      <inertia ixx="0.01" iyy="0.01" izz="0.01" ixy="0" ixz="0" iyz="0"/>
    </inertial>
    <collision><geometry><mesh filename="{mesh}"/></geometry></collision>
  </link>
  <link name="hand"/>
  <joint name="swing" type="revolute">
    <parent link="base"/><child link="arm"/><axis xyz="0 1 0"/><limit lower="-1" upper="1" effort="30" velocity="1.5"/>
  </joint>
  <joint name="wrist" type="fixed"><parent link="arm"/><child link="hand"/><origin xyz="0.4 0 0"/></joint>
</robot>
"""


def made(folder: Path, file: str, text: str, *, kind: Kind = "reach") -> tuple[Task, list[str]]:
    (folder / file).write_text(text)
    source = read_source(folder / file)
    proposal = propose(source, kind, name="made_reach", tools=())
    write_task(source, proposal, folder / "made_reach.yaml")
    return load_task(folder / "made_reach.yaml"), proposal.guesses


@pytest.mark.parametrize(
    ("mjcf", "said"), [(MJCF, ""), (BARE, "nothing drives it"), (MOTORS, "its actuator is a motor")]
)
def test_servos_are_declared_where_a_contract_cannot_state_the_drives(tmp_path: Path, mjcf: str, said: str) -> None:
    task, guesses = made(tmp_path, "arm.xml", mjcf)
    joints = task.contract.robot.joints
    assert [joint.name for joint in joints] == ["shoulder", "elbow"]
    assert all(joint.declared_servo == bool(said) for joint in joints)
    assert any(said in guess for guess in guesses)
    if mjcf is MOTORS:
        assert [joint.effort_max for joint in joints] == [20, 9]
    assert not simulate_drives(task.model, task.contract.robot, task.home, window=0.3).problems


def test_a_urdf_brings_its_limits_and_names_the_meshes_that_are_missing(tmp_path: Path) -> None:
    box = URDF.replace('<mesh filename="{mesh}"/>', '<box size="0.1 0.1 0.1"/>')
    box = box.replace('effort="30"', 'drake:acceleration="2" effort="30"')  # no xmlns, as in many packages
    joint = made(tmp_path, "swing.urdf", box)[0].contract.robot.joints[0]
    assert (joint.name, joint.velocity_max, joint.effort_max) == ("swing", 1.5, 30)
    with pytest.raises(ShoalError, match=r"link 'arm': no file for the collision mesh 'package://x/arm\.stl'"):
        made(tmp_path, "swing.urdf", URDF.format(mesh="package://x/arm.stl"))


WALKER = """
<mujoco model="walker">
  <compiler angle="radian" autolimits="true"/>
  <worldbody>
    {floor}
    <body name="trunk" pos="0 0 0.6">
      <freejoint/>
      <geom type="box" size="0.2 0.1 0.05" mass="4"/>
      {legs}
    </body>
  </worldbody>
</mujoco>
"""
LEGS = "".join(
    f'<body name="leg{i}" pos="{x} {y} 0"><joint name="hip{i}" axis="0 1 0" range="-1 1"/>'
    '<geom type="capsule" size="0.02" fromto="0 0 -0.06 0 0 -0.3" mass="0.3"/></body>'
    for i, (x, y) in enumerate(((0.2, 0.15), (0.2, -0.15), (-0.2, 0.15), (-0.2, -0.15)))
)
FLOOR = '<geom name="floor" type="plane" size="0 0 1"/>'


def test_something_with_legs_is_set_down_and_walks(tmp_path: Path) -> None:
    task, guesses = made(tmp_path, "walker.xml", WALKER.format(floor=FLOOR, legs=LEGS), kind="walk")
    assert any("lowered by 28 cm" in guess for guess in guesses)
    assert task.home.qpos[2] == pytest.approx(0.319, abs=1e-3)
    assert [joint.name for joint in task.contract.robot.joints] == ["hip0", "hip1", "hip2", "hip3"]
    assert [term.kind for term in task.contract.terminations] == ["tilt", "height"]
    env = NativeEnvironment(task, num_envs=3, seed=0, pool=sample_goal_pool(task, size=20, seed=0), privileged=True)
    rollout = env.rollout_with(lambda observation, goal: np.zeros((3, 4), np.float32), 25)
    assert not rollout.terminated.any()


def test_what_walks_gets_a_free_joint_and_a_floor_where_its_file_has_none(tmp_path: Path) -> None:
    key = '<keyframe><key name="home" qpos="0.1 0.1 0.1 0.1"/></keyframe></mujoco>'
    fixed = WALKER.format(floor="", legs=LEGS).replace("<freejoint/>", "").replace("</mujoco>", key)
    task, guesses = made(tmp_path, "walker.xml", fixed, kind="walk")
    assert sum("is not used as it is but as a copy" in guess for guess in guesses) == 2
    assert task.contract.robot.base == "floating"
    assert task.home.qpos[:2] == pytest.approx([0, 0])
    assert task.home.qpos[7:] == pytest.approx([0.1] * 4)
    assert HomeContacts.of(task.model, task.home.qpos).pairs


def test_walls_are_no_floor(tmp_path: Path) -> None:
    wall = '<geom type="plane" size="1 1 1" pos="-9 0 5" euler="0 0.8 0"/>'
    task, _ = made(tmp_path, "walker.xml", WALKER.format(floor=wall + FLOOR, legs=LEGS), kind="walk")
    assert task.home.qpos[2] == pytest.approx(0.319, abs=1e-3)


def test_a_site_may_have_the_name_of_the_floating_body(tmp_path: Path) -> None:
    named = LEGS + '<site name="trunk" euler="0 1 0"/>'
    task, _ = made(tmp_path, "walker.xml", WALKER.format(floor=FLOOR, legs=named), kind="walk")
    scene, data = task.scene, mujoco.MjData(task.model)
    data.qvel[:3] = 1, 2, 3
    mujoco.mj_forward(task.model, data)
    velocity = next(term for term in task.config.teacher_readings if term.kind == "base_linear_velocity")
    assert scene.simulated([data]).value(np, velocity)[0] == pytest.approx([1, 2, 3])


def test_what_cannot_walk_is_told_why(tmp_path: Path) -> None:
    rails = WALKER.format(floor=FLOOR, legs=LEGS).replace(
        "<freejoint/>", '<joint name="rail" type="slide" axis="1 0 0" range="-9 9"/>'
    )
    with pytest.raises(ShoalError, match=r"no body hangs on a free joint, and joints hold it to the world \(rail\)"):
        made(tmp_path, "walker.xml", rails, kind="walk")
    lying = WALKER.format(floor=FLOOR, legs=LEGS.replace("-0.3", "0.3").replace("-0.06", "0.06"))
    with pytest.raises(ShoalError, match="lies on the floor at home"):
        made(tmp_path, "walker.xml", lying.replace("0.2 0.1 0.05", "0.2 0.1 0.001"), kind="walk")


def test_what_a_script_leads_by_a_mocap_body_and_places_by_joints_is_let_go(tmp_path: Path) -> None:
    led = BARE.replace("<keyframe>", '<equality><weld body1="leader" body2="lower"/></equality><keyframe>')
    led = led.replace("</worldbody>", '<body name="leader" mocap="true" pos="0.5 0 0.3"/></worldbody>')
    first, _, rest = led.partition('<joint name="shoulder"')
    placed = f'{first}<joint name="place" type="slide" axis="1 0 0" damping="1e10"/><joint name="shoulder"{rest}'
    placed = placed.replace('qpos="', 'qpos="0.3 ')
    task, guesses = made(tmp_path, "arm.xml", placed)
    assert not task.model.eq_active0.any()
    assert [task.model.joint(i).name for i in range(task.model.njnt)] == ["shoulder", "elbow"]
    assert any("'leader', a mocap body" in guess or "'leader' to" in guess for guess in guesses)
    assert any("damping holds place" in guess for guess in guesses)


def test_links_that_overlap_at_home_pass_through_each_other(tmp_path: Path) -> None:
    hull = '<geom type="sphere" size="0.2" mass="0.001"/><site name="tool"'
    clash = BARE.replace('<site name="tool"', hull).replace(
        "<worldbody>", '<option><flag filterparent="disable"/></option><worldbody>'
    )
    task, guesses = made(tmp_path, "arm.xml", clash)
    assert task.model.nexclude == 1
    assert any("overlap at home" in guess for guess in guesses)
    assert not simulate_drives(task.model, task.contract.robot, task.home, window=0.3).problems


def test_a_servo_of_the_file_that_does_not_follow_is_replaced(tmp_path: Path) -> None:
    task, guesses = made(tmp_path, "arm.xml", MJCF.replace('kp="50"', 'kp="0.01"'))
    assert [joint.declared_servo for joint in task.contract.robot.joints] == [False, True]
    assert any("servo of elbow: the file's own does not follow" in guess for guess in guesses)


def test_a_loose_body_is_pushed(tmp_path: Path) -> None:
    with pytest.raises(ShoalError, match="no body of this model lies loose"):
        made(tmp_path, "arm.xml", MJCF, kind="push")
    puck = (
        '<body name="puck" pos="0.5 0 0.1"><freejoint/><geom type="sphere" size="0.02" mass="0.1"/></body></worldbody>'
    )
    keyed = MJCF.replace('qpos="0.2 0.5"', 'qpos="0.2 0.5 0.5 0 0.1 1 0 0 0"')
    task, guesses = made(tmp_path, "arm.xml", keyed.replace("</worldbody>", puck), kind="push")
    assert any("object: 'puck'" in guess for guess in guesses)
    assert task.contract.goal.kind == "object_position"
    assert task.contract.tracked_body == "puck"
    pool = sample_goal_pool(task, size=20, seed=0)
    assert np.ptp(pool.goal[:, 0]) > 0.1


def _side(name: str, y: float, joints: int) -> str:
    """An arm of `joints` links that ends in a hand."""
    opened = "".join(
        f'<body name="{name}_link{i}" pos="{0.0 if i == 0 else 0.12} 0 0">'
        f'<joint name="{name}_joint{i}" axis="0 {i % 2} {1 - i % 2}" range="-2 2"/>'
        '<geom type="capsule" size="0.02" fromto="0.03 0 0 0.1 0 0" mass="0.3"/>'
        for i in range(joints)
    )
    end = f'<body name="{name}_hand" pos="0.12 0 0"><geom type="sphere" size="0.02" mass="0.1"/></body>'
    return f'<body name="{name}_base" pos="0 {y} 0.5">{opened}{end}{"</body>" * joints}</body>'


def two_arms(joints: int) -> str:
    sides = _side("left", 0.4, 6) + _side("right", -0.4, joints)
    return f'<mujoco><compiler angle="radian" autolimits="true"/><worldbody>{sides}</worldbody></mujoco>'


@pytest.mark.parametrize("kind", ["reach", "pose"])
def test_two_arms_get_a_goal_each(tmp_path: Path, kind: Kind) -> None:
    task, guesses = made(tmp_path, "torso.xml", two_arms(6), kind=kind)
    goal = task.contract.goal
    assert goal.kind == "together"
    assert [part.reading for part in goal.parts() if part.reading.endswith("_position")] == [
        "left_hand_position",
        "right_hand_position",
    ]
    assert len(task.contract.robot.joints) == 12
    assert any("tool: 'left_hand' and 'right_hand'" in guess for guess in guesses)
    pool = sample_goal_pool(task, size=20, seed=0)
    assert np.ptp(pool.goal, axis=0)[:3].max() > 0.1


def test_a_finger_is_no_second_arm_and_a_tool_may_be_named(tmp_path: Path) -> None:
    task, _ = made(tmp_path, "torso.xml", two_arms(3))
    assert task.contract.robot.end_effector_frame == "left_hand"
    assert len(task.contract.robot.joints) == 6
    proposal = propose(read_source(tmp_path / "torso.xml"), "reach", name="both", tools=("right_hand", "left_hand"))
    assert proposal.tools == ["right_hand", "left_hand"]
    assert len(proposal.reach.boxes) == 2


def test_bodies_without_a_name_are_no_tools(tmp_path: Path) -> None:
    link = '<joint name="{}" axis="0 0 1"/><geom type="capsule" size="0.03" fromto="0 0 0 0.3 0 0"/>'
    inner = f'<body pos="0.3 0 0">{link.format("j2")}<site name="tip" pos="0.3 0 0"/></body>'
    mjcf = f'<mujoco><worldbody><body name="a">{link.format("j1")}{inner}</body></worldbody></mujoco>'
    task, _ = made(tmp_path, "arm.xml", mjcf)
    assert task.contract.robot.end_effector_frame == "tip"


_ON_ITS_AXIS = """
<mujoco>
  <worldbody>
    <body name="link" pos="0 0 1">
      <joint name="a" axis="0 0 1" range="-1 1"/><geom type="capsule" size=".05" fromto="0 0 0 .3 0 0" mass="1"/>
      <site name="tool" pos="0 0 .1"/>
      <body name="end" pos=".3 0 0"><joint name="b" range="-1 1"/><geom size=".02" mass=".1"/></body>
    </body>
  </worldbody>
  <actuator><position joint="a" kp="50" kv="5"/></actuator>
</mujoco>
"""


@pytest.mark.parametrize(
    ("floats", "tools", "said"),
    [
        (
            False,
            ("tool",),
            "new-task: the joints turn the tool 'tool' but do not move it; name another one with --tool",
        ),
        (False, ("tool", "tool"), "--tool: 'tool', 'tool' would share the reading 'tool'.*name each tool once"),
        (True, ("tool",), "the base 'base' floats"),
    ],
)
def test_a_tool_that_no_task_can_bring_anywhere_is_refused(
    tmp_path: Path, floats: bool, tools: tuple[str, ...], said: str
) -> None:
    text = _ON_ITS_AXIS
    if floats:
        text = text.replace("<worldbody>", '<worldbody><body name="base"><freejoint/><geom size=".1"/>')
        text = text.replace("</worldbody>", "</body></worldbody>")
    (tmp_path / "robot.xml").write_text(text)
    with pytest.raises(ShoalError, match=said):
        propose(read_source(tmp_path / "robot.xml"), "reach", name="robot_reach", tools=tools)


def test_a_pose_may_be_a_turn_alone(tmp_path: Path) -> None:
    (tmp_path / "robot.xml").write_text(_ON_ITS_AXIS)
    assert propose(read_source(tmp_path / "robot.xml"), "pose", name="robot_pose", tools=("tool",)).tools == ["tool"]
