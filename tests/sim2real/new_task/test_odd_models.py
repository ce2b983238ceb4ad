"""Models that nobody foresaw: each becomes a task whose robot moves and stays finite, or is refused in one complete
list of sentences, with the element, its value and what to do.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sim2real.backends.native import NativeEnvironment
from sim2real.contract.interface import action_size
from sim2real.errors import ShoalError
from sim2real.new_task.kinds import Kind
from sim2real.new_task.proposal import propose
from sim2real.new_task.source import read_source
from sim2real.new_task.write import write_task
from sim2real.tasks.goal_pool import sample_goal_pool, survey_starts
from sim2real.tasks.task import Task, load_task
from tests.sim2real.planar_arm import MJCF
from tests.sim2real.planar_arm import write_task as write_planar_task

LINK = '<geom type="capsule" fromto="0 0 0 {} 0 0" size=".03"/>'


def arm(*joints: str, end: str = '<site name="tool" pos=".3 0 0"/>', more: str = "") -> str:
    """An MJCF of links of 0.3 m one after the other, one for each joint's attributes."""
    opened = "".join(
        f'<body name="link{i}" pos="{0.3 if i else 0} 0 {0 if i else 1}"><joint {joint}/>{LINK.format(0.3)}'
        for i, joint in enumerate(joints)
    )
    bodies = f"{opened}{end}{'</body>' * len(joints)}"
    return f'<mujoco model="odd"><worldbody>{bodies}</worldbody>{more}</mujoco>'


TURN, BEND = 'name="turn" axis="0 0 1" range="-150 150"', 'name="bend" axis="0 1 0" range="-100 100"'
MUSCLES = (
    '<tendon><spatial name="t"><site site="fixed"/><site site="tool"/></spatial></tendon>'
    '<actuator><motor joint="turn" gear="-20"/><position joint="turn" kp="9"/><muscle name="pull" tendon="t"/>'
    "</actuator>"
    '<keyframe><key name="home" qpos="0.1 0.2" ctrl="0 0.1 0.3" act="0.3"/></keyframe>'
)
FINGERS = (
    '<site name="tcp" pos=".35 0 0"/>'
    '<body name="f1" pos=".3 0 0"><joint name="f1" type="slide" axis="0 1 0" range="0 .03"/><geom size=".01"/></body>'
    '<body name="f2" pos=".3 0 0"><joint name="f2" type="slide" axis="0 -1 0" range="0 .03"/><geom size=".01"/></body>'
)
LINKAGE = (
    '<site name="tool" pos=".3 0 0"/>'
    '<body name="crank" pos=".3 0 0"><joint name="c" axis="0 0 1"/><geom size=".01" pos="0 .05 0"/>'
    '<body name="rod" pos="0 .05 0"><joint name="r" axis="0 0 1"/><geom size=".01" pos=".05 0 0"/></body></body>'
)
LOOP_ON_THE_HAND = '<equality><connect body1="rod" body2="link1" anchor=".05 0 0"/></equality>'
UNNAMED_LEGS = """
<mujoco><worldbody><geom type="plane" size="0 0 1"/>
  <body pos="0 0 .26"><freejoint/><geom type="box" size=".2 .2 .05"/>
    <body pos=".2 0 0"><joint axis="0 1 0"/><geom type="capsule" fromto="0 0 0 0 0 -.25" size=".02"/></body>
    <body pos="-.2 0 0"><joint axis="0 1 0"/><geom type="capsule" fromto="0 0 0 0 0 -.25" size=".02"/></body>
  </body></worldbody></mujoco>
"""

WORKS: dict[str, tuple[str, Kind, str, list[str]]] = {
    "names that are not ASCII": (
        arm('name="Schulter ö"', BEND, end='<site name="指先" pos=".3 0 0"/>'),
        *("reach", "指先"),
        [],
    ),
    "nothing has a name": (
        "<mujoco><worldbody><body><joint axis='0 0 1'/><geom size='.05'/><body pos='.3 0 0'><joint axis='0 1 0'/>"
        "<geom size='.05'/><body pos='.3 0 0'><geom size='.05'/></body></body></body></worldbody></mujoco>",
        *("reach", "body2"),
        [
            "bodies have no names, and get body1, body2, body3",
            "joints have no names, and get body1_joint0, body2_joint1",
        ],
    ),
    "no leg has a name": (UNNAMED_LEGS, *("walk", ""), ["base: 'body1'"]),
    "a gantry": (
        arm(
            *(
                f'name="{x}" type="slide" axis="{a}" range="-.5 .5"'
                for x, a in (("x", "1 0 0"), ("y", "0 1 0"), ("z", "0 0 1"))
            )
        ),
        *("reach", "tool"),
        [],
    ),
    "fingers on slides": (arm(TURN, BEND, end=FINGERS), *("reach", "tcp"), []),
    "a linkage on the hand": (arm(TURN, BEND, end=LINKAGE, more=LOOP_ON_THE_HAND), *("reach", "tool"), []),
    "a muscle, a motor and a servo": (
        arm(TURN, BEND, more=MUSCLES).replace("<worldbody>", '<worldbody><site name="fixed" pos="0 0 1.5"/>'),
        *("reach", "tool"),
        ["actuator 'pull' pushes joints of the task", "servo of turn: 2 actuators drive it"],
    ),
    "keyframes of another model": (
        arm(TURN, BEND, more='<keyframe><key name="home" qpos="0 0 0"/><key name="bent" qpos="0 .5"/></keyframe>'),
        *("reach", "tool"),
        ["keyframe 'home' has 3 numbers of qpos for 2, and is left out", "home: keyframe 'bent'"],
    ),
    "a site behind the last joint, and one on it": (
        arm(TURN, BEND, end='<site name="at"/><site name="out" pos=".3 0 0"/>'),
        *("reach", "out"),
        [],
    ),
    "long physics steps": (
        arm(TURN, BEND).replace("<worldbody>", '<option timestep="0.02"/><worldbody>'),
        *("reach", "tool"),
        ["physics 0.005 s (servos want shorter steps than the file's 0.02 s)"],
    ),
}


@pytest.mark.parametrize("name", WORKS)
def test_an_odd_model_becomes_a_task_that_runs(name: str, tmp_path: Path) -> None:
    text, kind, tool, said = WORKS[name]
    task, guesses = _made(tmp_path, text, kind)
    assert task.contract.robot.end_effector_frame == (tool or None)
    for words in said:
        assert any(words in guess for guess in guesses), (words, guesses)
    env = NativeEnvironment(task, num_envs=4, seed=0, pool=sample_goal_pool(task, size=20, seed=0))
    rng, size = np.random.default_rng(0), (4, action_size(task.contract))
    rollout = env.rollout_with(lambda observation, goal: rng.uniform(-1, 1, size).astype(np.float32), 30)
    assert np.isfinite(rollout.observation).all()
    assert np.abs(rollout.observation).max() < 30, "nothing flies away"
    assert np.ptp(rollout.achieved, axis=0).max() > 1e-3, "something moves"


def _made(folder: Path, text: str, kind: Kind) -> tuple[Task, list[str]]:
    (folder / "odd.xml").write_text(text)
    source = read_source(folder / "odd.xml")
    proposal = propose(source, kind, name=f"odd_{kind}")
    write_task(source, proposal, folder / f"odd_{kind}.yaml")
    return load_task(folder / f"odd_{kind}.yaml"), proposal.guesses


LOOP = arm(TURN, BEND, more='<equality><connect body1="link1" body2="world" anchor=".3 0 0"/></equality>')
FILES = (
    '<asset><mesh name="m1" file="one.stl"/><mesh name="m2" file="two.obj"/>'
    '<texture name="t" type="2d" file="wood.png"/></asset>'
)
DRONE = (
    '<mujoco><worldbody><body name="drone"><freejoint/><geom size=".1"/><site name="up"/></body></worldbody>'
    '<actuator><motor site="up" gear="0 0 1 0 0 0"/></actuator></mujoco>'
)
REFUSED = {
    "a closed chain": (
        LOOP,
        "<connect> of 'link1' and 'world' closes a chain that 'turn', 'bend' belong to.*remove the",
    ),
    "a joint that follows": (
        arm(TURN, BEND, 'name="last" axis="0 1 0"', more='<equality><joint joint1="bend" joint2="turn"/></equality>'),
        "joint 'bend' lies between the world and the tool 'tool', and an <equality> makes it follow .*; name another",
    ),
    "a ball joint": (arm('name="ball" type="ball"', BEND), r"joint 'ball' \(ball\) lies between.*weld it"),
    "files that are not there": (
        arm(TURN).replace("<worldbody>", f'<compiler meshdir="gone"/>{FILES}<worldbody>'),
        r"3 problems:\n  mesh 'm1': no file at .*gone/one.stl; put it there.\n  mesh 'm2'.*\n  texture 't': no file at",
    ),
    "bodies without mass": (
        arm(TURN, BEND, end="")
        .replace("/>", ' mass="0"/>')
        .replace('0 1" mass="0"', '0 1"')
        .replace('100" mass="0"', '100"')
        .replace('150" mass="0"', '150"'),
        r"2 problems:\n  body 'link0' moves and has no mass; give it.*\n  body 'link1' moves and has no mass",
    ),
    "a free joint far out": (
        arm(TURN, 'type="free"'),
        "free joint can only be used on top level Element name 'link1'.*; put the body right into <worldbody>",
    ),
    "another sort of file": ("<sdf/>", "Unrecognized XML model type: 'sdf'; give an MJCF"),
    "a part of others": ("<mujocoinclude/>", "it is a part of other models; give the file that includes it"),
    "nothing": ("", "empty file .*; look at the file"),
    "a drone": (DRONE, "no site or body of this model hangs on a joint"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_task_can_be_made_of_is_said_with_the_cure(name: str, tmp_path: Path) -> None:
    text, said = REFUSED[name]
    with pytest.raises(ShoalError, match=said):
        _made(tmp_path, text, "reach")


def test_a_loose_body_without_a_name_is_told(tmp_path: Path) -> None:
    cube = '<body pos=".5 0 .5"><freejoint/><geom size=".02"/></body></worldbody>'
    driven = arm(TURN, BEND, more='<actuator><motor joint="turn"/><motor joint="bend"/></actuator>')
    with pytest.raises(ShoalError, match=r"a body of this model lies loose but has no name.*; name it in the MJCF"):
        _made(tmp_path, driven.replace("</worldbody>", cube), "push")


def test_a_base_that_flies_does_not_walk(tmp_path: Path) -> None:
    with pytest.raises(ShoalError, match="no joint that a policy could command hangs on 'drone', which floats"):
        _made(tmp_path, DRONE, "walk")


def test_names_in_another_encoding_are_refused(tmp_path: Path) -> None:
    latin = arm('name="sch\xf6n"').encode("latin-1")
    (tmp_path / "odd.xml").write_bytes(b'<?xml version="1.0" encoding="iso-8859-1"?>' + latin)
    with pytest.raises(ShoalError, match=r"has a name that is not UTF-8 \(byte 0xf6\); save the file as UTF-8"):
        read_source(tmp_path / "odd.xml")


TWO_LINKS = (
    '<robot name="odd"><link name="a"/><link name="b"><inertial><mass value="1"/>'
    '<inertia ixx=".1" iyy=".1" izz=".1" ixy="0" ixz="0" iyz="0"/></inertial></link>'
    '<joint name="j" type="revolute"><parent link="a"/><child link="b"/><origin xyz="0 0 {height}"/>'
    '<limit lower="-1" upper="1" effort="{effort}" velocity="1"/></joint>{more}</robot>'
)
BACK = (
    '<joint name="k" type="revolute"><parent link="b"/><child link="a"/><limit lower="-1" upper="1" effort="1" '
    'velocity="1"/></joint>'
)


@pytest.mark.parametrize(
    ("height", "effort", "more", "said"),
    [
        ("${h}", "1", "", r"it is a xacro file, not a URDF yet \(it has '0 0 \${h}'\); run xacro on it"),
        (
            "1",
            "strong",
            "",
            "joint 'j': effort of its limit: could not convert string to float: 'strong'; give a number",
        ),
        ("1", "1", BACK, "no link is the root"),
        (
            "1",
            "1",
            '<link name="c"><inertial/></link>',
            r"(?s)link 'c'.* has no <mass>.*link 'c'.* has no <inertia>; add it",
        ),
    ],
)
def test_a_urdf_that_is_none_is_told_why(height: str, effort: str, more: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "odd.urdf").write_text(TWO_LINKS.format(height=height, effort=effort, more=more))
    with pytest.raises(ShoalError, match=said):
        read_source(tmp_path / "odd.urdf")


def test_starts_that_tear_a_closed_chain_are_not_used(tmp_path: Path) -> None:
    loop = '<equality><connect body1="lower" body2="world" anchor=".3 0 0"/></equality><actuator>'
    task = load_task(write_planar_task(tmp_path, mjcf=MJCF.replace("<actuator>", loop)))
    survey = survey_starts(task, tries=100, seed=0)
    assert survey.ties > 80
    with pytest.raises(ShoalError, match=r"tear an equality \(<connect> of 'lower' and 'world'\)"):
        sample_goal_pool(task, size=500, seed=0)
