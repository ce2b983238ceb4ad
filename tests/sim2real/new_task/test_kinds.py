"""A kind of task that a robot does not fit is refused in one sentence, which names the kinds that it does fit."""

from __future__ import annotations

from pathlib import Path

import pytest

import sim2real
from sim2real.errors import ShoalError
from sim2real.new_task.inspection import Inspection
from sim2real.new_task.kinds import Kind, require_kind
from sim2real.new_task.proposal import propose
from sim2real.new_task.source import read_source
from tests.sim2real.planar_arm import MJCF

ROBOTS = Path(sim2real.__file__).parent / "robots"
ARM = "franka_fr3/fr3.xml"
DRONE = '<mujoco><worldbody><body name="drone"><freejoint/><geom size=".1"/></body></worldbody></mujoco>'


@pytest.mark.parametrize(
    ("robot", "kind", "lacks", "fits"),
    [
        (ARM, "walk", "fixed to the world has several limbs", "--kind reach and --kind pose fit"),
        ("two_arms/two_arms.xml", "walk", "fixed to the world has several limbs", "--kind reach and --kind pose fit"),
        ("gripper_arm/bins.xml", "walk", r"\(shoulder_pan\)", "--kind reach, --kind pose and --kind push fit"),
        (ARM, "push", "lies loose", "--kind reach and --kind pose fit"),
        ("quadruped/quadruped.xml", "reach", "the base 'base' floats", "--kind walk fits"),
        ("mobile_base/mobile_base.xml", "push", "the base 'base' floats", "--kind walk fits"),
        ("swimmer/swimmer.xml", "walk", "no geom of 'head' can touch anything", "no kind of task fits"),
    ],
)
def test_a_kind_that_a_robot_does_not_fit_is_refused_with_those_that_it_does(
    robot: str, kind: Kind, lacks: str, fits: str
) -> None:
    inspection = Inspection(read_source(ROBOTS / robot).model)
    with pytest.raises(ShoalError, match=f"^new-task: .*{lacks}.*; {fits} this robot\\.$"):
        require_kind(inspection, kind, ())


@pytest.mark.parametrize("kind", ["reach", "walk", "push"])
def test_what_has_no_joints_fits_no_kind(tmp_path: Path, kind: Kind) -> None:
    (tmp_path / "drone.xml").write_text(DRONE)
    with pytest.raises(ShoalError, match="no kind of task fits this robot"):
        propose(read_source(tmp_path / "drone.xml"), kind, name=f"drone_{kind}")


@pytest.mark.parametrize(
    ("robot", "kind", "tools", "said"),
    [
        ("quadruped/quadruped.xml", "walk", ("base",), "a task of kind walk has no tool, got base; leave it out"),
        ("franka_fr3_push/push.xml", "push", ("tool", "fr3_link7"), "one tool pushes, got tool, fr3_link7; name one"),
    ],
)
def test_a_tool_that_a_kind_would_not_use_is_refused(robot: str, kind: Kind, tools: tuple[str, ...], said: str) -> None:
    with pytest.raises(ShoalError, match=f"^--tool: {said}"):
        propose(read_source(ROBOTS / robot), kind, name="robot", tools=tools)


@pytest.mark.parametrize("kind", ["reach", "pose"])
def test_a_robot_without_room_to_move_is_refused(tmp_path: Path, kind: Kind) -> None:
    slot = '<geom type="box" size="1 .1 1" pos="0 {} 0.5"/>'
    walls = "".join(slot.format(y) for y in (-0.12001, 0.12001))
    walled = MJCF.replace("<worldbody>", f"<worldbody>{walls}")
    (tmp_path / "arm.xml").write_text(walled.replace('qpos="0.2 0.5" ctrl="0.2 0.5"', 'qpos="0 0" ctrl="0 0"'))
    with pytest.raises(ShoalError, match="in every posture about home something touches"):
        propose(read_source(tmp_path / "arm.xml"), kind, name="arm")
