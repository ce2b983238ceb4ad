from __future__ import annotations

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.native.build import Unsupported, find_compiler
from runtime.robot.model import find_model
from runtime.safety import SafetyConfig, clearance
from runtime.safety.clearance import make_first_look
from runtime.safety.geometry import Geometry
from runtime.status import Reason
from sim2real.robots.actuation import Actuation
from sim2real.robots.coordinates import Coordinate
from sim2real.robots.kinematics import Addresses
from sim2real.tasks.task import load_task

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler on this machine")
CONTRACT = load_task("franka_pose").contract
LOW = np.array([joint.position_min for joint in CONTRACT.robot.joints])
HIGH = np.array([joint.position_max for joint in CONTRACT.robot.joints])
MODEL = find_model(CONTRACT)
ODD_ROBOT = """
<mujoco>
  <worldbody>
    <geom name="column" type="cylinder" pos="0.3 0.1 0.2" size="0.05 0.2" euler="20 10 0"/>
    <body pos="0.1 0 0.1" euler="10 20 30">
      <joint name="turn" axis="0.2 0.3 1" pos="0.05 0.02 0" ref="0.4"/>
      <joint name="slide" type="slide" axis="1 1 0"/>
      <geom name="box" type="box" size="0.05 0.12 0.03" pos="0.1 0 0.05" euler="0 30 0"/>
      <body pos="0.2 0 0.1">
        <joint name="unnamed" axis="0 1 0" pos="0 0 0.1"/>
        <geom name="egg" type="ellipsoid" size="0.04 0.06 0.09"/>
        <body pos="0 0 0.2" euler="90 0 0">
          <joint name="tip" axis="0 1 0"/>
          <geom name="rod" type="capsule" size="0.02 0.1"/>
          <geom name="ball" type="sphere" size="0.05" pos="0 0.1 0"/>
          <site name="tool" pos="0.02 0.1 0.03"/>
        </body>
      </body>
    </body>
  </worldbody>
</mujoco>
"""


def odd_robot() -> tuple[mujoco.MjModel, Addresses, list[tuple[int, int]]]:
    model = mujoco.MjModel.from_xml_string(ODD_ROBOT)
    drive = Actuation("position", 1.0, 0.0, 1.0, -np.inf, np.inf, 1.0)
    places = [np.array([int(model.joint(name).qposadr[0])]) for name in ("tip", "slide", "turn")]
    joints = tuple(
        Coordinate("", "hinge", place, place, np.ones(1), (), 0, 1.0, drive, -3.0, 3.0, False) for place in places
    )
    site = model.site("tool").id
    addresses = Addresses(joints, site, int(model.site_bodyid[site]), model.qpos0.copy(), np.zeros(0))
    names = [("column", name) for name in ("box", "egg", "rod", "ball")] + [
        ("box", "rod"),
        ("box", "ball"),
        ("egg", "ball"),
    ]
    return model, addresses, [(model.geom(a).id, model.geom(b).id) for a, b in names]


@needs_compiler
@settings(deadline=None)
@given(share=st.lists(st.floats(0, 1), min_size=7, max_size=7), margin=st.floats(0, 0.1))
def test_commands_are_the_same_with_and_without_the_first_look(share: list[float], margin: float) -> None:
    assert MODEL is not None
    geometry_checker = Geometry(MODEL, CONTRACT, SafetyConfig(self_collision_m=margin))
    posture = (LOW + np.array(share) * (HIGH - LOW)).tolist()
    home = [joint.home_position for joint in CONTRACT.robot.joints]
    assert geometry_checker.look is not None
    cleared, reason = geometry_checker.look([posture]), geometry_checker.blocks([posture], home)
    geometry_checker.look = None
    assert geometry_checker.blocks([posture], home) is reason
    assert reason is Reason.FOLLOWING or not cleared


@needs_compiler
def test_every_kind_of_geom_and_joint_is_enclosed() -> None:
    model, addresses, pairs = odd_robot()
    kept, box = 0.01, ((-0.4, -0.5, -0.2), (0.7, 0.6, 0.9))
    look = make_first_look(model, addresses, pairs, kept_m=kept, workspace=box)
    data, rng, cleared = mujoco.MjData(model), np.random.default_rng(1), 0
    for _ in range(400):
        joints = rng.uniform(-1.5, 1.5, 3)
        if not look([joints.tolist()]):
            continue
        cleared += 1
        data.qpos[addresses.qpos] = joints
        mujoco.mj_kinematics(model, data)
        tool = data.site_xpos[addresses.site]
        assert np.array_equal(tool, np.clip(tool, *box))
        for a, b in pairs:
            assert mujoco.mj_geomDistance(model, data, a, b, 1.0, np.zeros(6)) >= kept
    assert cleared > 40


@needs_compiler
@settings(deadline=None)
@given(share=st.lists(st.floats(0, 1), min_size=7, max_size=7))
def test_the_tool_is_where_mujoco_puts_it(share: list[float]) -> None:
    assert MODEL is not None
    geometry_checker = Geometry(MODEL, CONTRACT, SafetyConfig())
    posture = (LOW + np.array(share) * (HIGH - LOW)).tolist()
    assert geometry_checker.look is not None
    place, turn = np.split(np.array(geometry_checker.tool_pose(posture)), [3])
    geometry_checker.look = None
    wanted_place, wanted_turn = np.split(np.array(geometry_checker.tool_pose(posture)), [3])
    assert place == pytest.approx(wanted_place, abs=1e-9)
    assert abs(np.dot(turn, wanted_turn)) == pytest.approx(1.0, abs=1e-9)
    assert np.linalg.norm(turn) == pytest.approx(1.0, abs=1e-9)


@needs_compiler
def test_a_path_is_clear_when_all_of_it_is() -> None:
    assert MODEL is not None
    geometry_checker = Geometry(MODEL, CONTRACT, SafetyConfig())
    home = [joint.home_position for joint in CONTRACT.robot.joints]
    folded = [0.0, 1.6, 0.0, -3.0, 0.0, 0.6, 0.0]
    look = geometry_checker.look
    assert look is not None
    for clear in ([home], [home, home]):
        assert look(clear)
    for doubtful in ([home, folded], [folded, home], [[float("nan")] * 7], [home] * 1000):
        assert not look(doubtful)


@needs_compiler
def test_kinematics_that_differ_from_mujocos_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    model, addresses, pairs = odd_robot()
    monkeypatch.setattr(clearance, "_rotation", lambda quaternion: np.eye(3))
    with pytest.raises(Unsupported, match="away from where MuJoCo does"):
        make_first_look(model, addresses, pairs, kept_m=0.0, workspace=None)


def test_without_a_compiler_mujoco_judges_alone(no_compiler: None) -> None:
    assert MODEL is not None
    geometry_checker = Geometry(MODEL, CONTRACT, SafetyConfig())
    home = [joint.home_position for joint in CONTRACT.robot.joints]
    assert "no C compiler" in geometry_checker.first_look
    assert geometry_checker.blocks([home], home) is Reason.FOLLOWING
