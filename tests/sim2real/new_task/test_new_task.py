"""A robot's file becomes a task whose contract can be built and whose drives hold, with every guess said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sim2real.backends.native import NativeEnvironment
from sim2real.errors import ShoalError
from sim2real.new_task.proposal import Kind, propose
from sim2real.new_task.source import read_source
from sim2real.new_task.write import write_task
from sim2real.robots.servo_simulation import simulate_drives
from sim2real.tasks.goal_pool import sample_goal_pool
from sim2real.tasks.task import Task, load_task
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


def test_what_walking_lacks_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ShoalError, match=r"no body .* hangs on a free joint, .*; there is no floor"):
        made(tmp_path, "arm.xml", MJCF, kind="walk")


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
