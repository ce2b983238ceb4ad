"""The compiled model's digest notices physics and ignores looks."""

from __future__ import annotations

from pathlib import Path

import mujoco
import pytest

from sim2real.robots.mjcf import load_mjcf
from sim2real.robots.model import compiled_digest
from sim2real.tasks.task import Task
from tests.sim2real.planar_arm import MJCF


def digest(mjcf: str) -> str:
    return compiled_digest(mujoco.MjModel.from_xml_string(mjcf))


def test_stable_across_reloads(pose_task: Task, tmp_path: Path) -> None:
    assert compiled_digest(load_mjcf(pose_task.mjcf_path)) == pose_task.contract.robot.mjcf_sha256
    (tmp_path / "arm.xml").write_text(MJCF)
    assert compiled_digest(load_mjcf(tmp_path / "arm.xml")) == digest(MJCF)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('mass="0.5"', 'mass="0.500001"'),
        ('range="-2.5 2.5"', 'range="-2.5 2.500001"'),
        ('kp="50"', 'kp="50.0001"'),
        ('kv="8"', 'kv="8.0001"'),
        ('forcerange="-10 10"', 'forcerange="-10 10.001"'),
        ('armature="0.02"', 'armature="0.020001"'),
        ('site name="tool" pos="0.2', 'site name="tool" pos="0.2001'),
        ('size="0.02"', 'size="0.021"'),
        ('key name="home" qpos="0.2', 'key name="home" qpos="0.21'),
        ('joint name="elbow"', 'joint name="knee"'),
        ("<worldbody>", '<option gravity="0 0 -9.8"/><worldbody>'),
        ("<worldbody>", '<option integrator="implicitfast"/><worldbody>'),
    ],
)
def test_physics_changes_it(before: str, after: str) -> None:
    changed = MJCF.replace(before, after)
    if "knee" in after:
        changed = changed.replace('joint="elbow"', 'joint="knee"')
    assert changed != MJCF
    assert digest(changed) != digest(MJCF)


def test_joint_order_changes_it() -> None:
    swapped = MJCF.replace('"shoulder"', '"x"').replace('"elbow"', '"shoulder"').replace('"x"', '"elbow"')
    assert digest(swapped) != digest(MJCF)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('rgba="0.5 0.5 0.5 1"', 'rgba="0.9 0.1 0.1 1"'),
        ("<worldbody>", '<visual><headlight ambient="1 1 1"/></visual><worldbody><light pos="0 0 3"/>'),
        ("<worldbody>", '<worldbody><camera name="side" pos="0 -2 0.5"/>'),
    ],
)
def test_looks_do_not_change_it(before: str, after: str) -> None:
    changed = MJCF.replace(before, after)
    assert changed != MJCF
    assert digest(changed) == digest(MJCF)
