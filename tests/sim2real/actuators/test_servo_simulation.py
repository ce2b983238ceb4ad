"""The simulated drives say what a robot's would: how fast, how far, how much they sag, and which cannot be trained."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import mujoco
import pytest

from sim2real.actuators.servo_simulation import Drives, simulate_drives
from sim2real.tasks.task import load_task
from tests.sim2real.planar_arm import MJCF, write_task

HANGING = (
    MJCF.replace('axis="0 0 1"', 'axis="0 1 0"').replace(' ctrl="0.2 0.5"', "").replace('qpos="0.2 0.5"', 'qpos="0 0"')
)
"""The planar arm in the vertical plane, stretched out: its weight bends it at both joints."""
TRUNK = """
<geom type="plane" size="2 2 0.1"/>
<body name="trunk" pos="0 0 0.5">
  <freejoint/>
  <geom size="0.1" mass="4"/>
  <body name="upper"
"""
FLOATING = (
    HANGING.replace('<body name="upper"', TRUNK)
    .replace("</worldbody>", "</body></worldbody>")
    .replace('qpos="0 0"', 'qpos="0 0 0.5 1 0 0 0 0 0"')
)


def elbow(gains: str, limits: str = "-10 10", attributes: str = "") -> str:
    """The hanging arm with another servo or joint."""
    mjcf = HANGING.replace('kp="50" kv="4"', gains).replace("-10 10", limits)
    return mjcf.replace('range="-2.5 2.5"', f'range="-2.5 2.5" {attributes}')


def drives_of(folder: Path, mjcf: str, **changes: Any) -> Drives:
    estimators = dict.fromkeys(("end_effector_position", "end_effector_orientation"), "motion capture")
    task = load_task(write_task(folder, mjcf=mjcf, estimators=estimators, **changes))
    return simulate_drives(task.model, task.contract.robot, task.home, window=task.contract.action.window)


def test_time_to_63_percent_is_damping_over_stiffness(tmp_path: Path) -> None:
    drives = drives_of(tmp_path, MJCF)
    assert not drives.problems
    for seen, joint in zip(drives.joints, ("shoulder", "elbow"), strict=True):
        assert seen.name == joint
        assert seen.moved == pytest.approx(1, abs=0.01)
        assert seen.rise_s == pytest.approx(0.08, abs=0.02)
        assert abs(seen.sag) < 1e-3


def test_sag_is_weight_over_stiffness(tmp_path: Path) -> None:
    drives = drives_of(tmp_path, HANGING, goal__position_min_m=[-0.6, -0.6, -0.5])
    bent = 9.81 * 0.5 * 0.1
    shoulder = 9.81 * (1 * 0.15 + 0.5 * 0.4)
    assert drives.joints[1].sag == pytest.approx(bent / 50, rel=0.02)
    assert drives.joints[0].sag == pytest.approx(shoulder / 100, rel=0.02)
    assert drives.joints[0].load == pytest.approx(shoulder / 20, rel=0.02)
    assert drives.tool_sag_m == pytest.approx(0.5 * shoulder / 100 + 0.2 * bent / 50, rel=0.05)


@pytest.mark.parametrize(
    ("mjcf", "message"),
    [
        (elbow('kp="1" kv="0.4"'), "elbow: the servo cannot hold home: it sags"),
        (elbow('kp="50" kv="4"', "-0.3 0.3"), "with 100% of its effort limit of 0.3"),
        (elbow('kp="50" kv="4"', attributes='damping="900"'), "elbow: told a small step, it does 12% of it"),
        (elbow('kp="50" kv="0"').replace("0.02", "2"), "elbow: told a small step, it swings around its target by"),
        (elbow('kp="9000" kv="90"', "-900 900"), "elbow: the servo does not come to rest at home"),
        (elbow('kp="5000000" kv="4"', "-1e8 1e8"), "the simulation diverges while the drives only hold home"),
    ],
)
def test_what_cannot_be_trained(tmp_path: Path, mjcf: str, message: str) -> None:
    problems = "; ".join(drives_of(tmp_path, mjcf).problems)
    assert message in problems


def test_a_floating_base_is_held_while_its_joints_are_told_something(tmp_path: Path) -> None:
    drives = drives_of(tmp_path, FLOATING)
    assert all(math.isfinite(seen.rise_s) for seen in drives.joints)
    assert drives.base_drop_m == pytest.approx(0.4, abs=0.05)


def test_a_simulation_that_diverges_leaves_no_file_of_mujocos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = mujoco.get_mju_user_warning()
    assert drives_of(tmp_path, elbow('kp="5000000" kv="4"', "-1e8 1e8")).problems
    assert not (tmp_path / "MUJOCO_LOG.TXT").exists()
    assert mujoco.get_mju_user_warning() is before
