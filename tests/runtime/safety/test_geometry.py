from __future__ import annotations

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.robot.model import find_model
from runtime.safety import Safety, SafetyConfig
from runtime.safety.geometry import Geometry, geometry_checker_for, self_pairs
from runtime.status import Reason
from sim2real.contract import Contract
from sim2real.robots.kinematics import Addresses
from sim2real.tasks.task import load_task

CONTRACT = load_task("franka_pose").contract
HOME = np.array([joint.home_position for joint in CONTRACT.robot.joints])
LOW = np.array([joint.position_min for joint in CONTRACT.robot.joints])
HIGH = np.array([joint.position_max for joint in CONTRACT.robot.joints])
MODEL = find_model(CONTRACT)
FOLDED = np.array([0.0, 1.6, 0.0, -3.0, 0.0, 0.6, 0.0])
"""The hand in the base."""


def geometry(**config: object) -> Geometry:
    assert MODEL is not None
    return Geometry(MODEL, CONTRACT, SafetyConfig(**config))  # type: ignore[arg-type]


def plain_distance(joints: np.ndarray, kept_m: float) -> float:
    """Over all pairs, without bounding spheres."""
    assert MODEL is not None
    data = mujoco.MjData(MODEL)
    data.qpos[Addresses.of(MODEL, CONTRACT.robot).qpos] = joints
    mujoco.mj_kinematics(MODEL, data)
    pairs = zip(*self_pairs(MODEL, CONTRACT), strict=True)
    return min(mujoco.mj_geomDistance(MODEL, data, int(a), int(b), kept_m, np.zeros(6)) for a, b in pairs)


def test_pairs_are_those_that_mujoco_lets_collide() -> None:
    assert MODEL is not None
    model, data = MODEL, mujoco.MjData(MODEL)
    model_pairs = {tuple(sorted(pair)) for pair in Geometry(model, CONTRACT, SafetyConfig()).pairs}
    rng, seen = np.random.default_rng(0), set()
    for _ in range(300):
        data.qpos[:7] = rng.uniform(LOW, HIGH)
        mujoco.mj_forward(model, data)
        seen |= {tuple(sorted(contact.geom.tolist())) for contact in data.contact}
    floor = model.geom("floor").id
    assert {pair for pair in seen if floor not in pair} <= model_pairs
    assert len(model_pairs) == 35


@settings(deadline=None)
@given(share=st.lists(st.floats(0, 1), min_size=7, max_size=7))
def test_bounding_spheres_change_nothing(share: list[float]) -> None:
    joints = LOW + np.array(share) * (HIGH - LOW)
    found = geometry(self_collision_m=0.05).distance_m(joints)
    assert found == pytest.approx(plain_distance(joints, 0.05), abs=1e-12)


def test_self_collision_is_blocked_and_may_be_left() -> None:
    geometry_checker = geometry(self_collision_m=0.01, workspace_margin_m=None)
    assert geometry_checker.distance_m(FOLDED) < 0
    assert geometry_checker.blocks([FOLDED.tolist()], HOME.tolist()) is Reason.SELF_COLLISION
    assert geometry_checker.blocks([HOME.tolist()], FOLDED.tolist()) is Reason.FOLLOWING
    on_the_way = (FOLDED + 0.02 * (HOME - FOLDED)).tolist()
    assert geometry_checker.blocks([on_the_way], FOLDED.tolist()) is Reason.FOLLOWING
    assert geometry_checker.blocks([FOLDED.tolist()], on_the_way) is Reason.SELF_COLLISION


def test_workspace_is_kept_and_may_be_entered() -> None:
    box = {"workspace_min_m": (0.4, -0.2, 0.3), "workspace_max_m": (0.6, 0.2, 0.6)}
    geometry_checker, turned = geometry(**box), HOME + np.array([1.0, 0, 0, 0, 0, 0, 0])
    assert geometry_checker.blocks([turned.tolist()], HOME.tolist()) is Reason.TOOL_OUTSIDE
    assert geometry_checker.blocks([HOME.tolist()], turned.tolist()) is Reason.FOLLOWING


@settings(max_examples=30, deadline=None)
@given(
    goals=st.lists(st.lists(st.floats(0, 1), min_size=7, max_size=7), min_size=1, max_size=3),
    acceleration=st.sampled_from([2.0, 10.0, None]),
)
def test_wherever_the_policy_leads_the_target_keeps_its_distance(
    goals: list[list[float]], acceleration: float | None
) -> None:
    config = SafetyConfig(acceleration_max_rad_s2=acceleration, self_collision_m=0.01)
    geometry_checker = geometry_checker_for(MODEL, CONTRACT, config)
    assert geometry_checker is not None
    safety = Safety(CONTRACT, config, geometry_checker=geometry_checker)
    safety.start(HOME)
    for share in goals:
        command = LOW + np.array(share) * (HIGH - LOW)
        for _ in range(25):
            safety.settle(safety.limit(command))
            assert geometry_checker.distance_m(safety.target) > 0.01 - 2e-3
            low, high = geometry_checker.workspace or ((), ())
            tool = geometry_checker._data.site_xpos[geometry_checker._addresses.site]
            assert (tool >= np.array(low) - 2e-3).all()
            assert (tool <= np.array(high) + 2e-3).all()


def test_without_the_right_mjcf_there_is_no_geometry_checker(contract: Contract) -> None:
    other = contract.model_copy(update={"robot": contract.robot.model_copy(update={"name": "unknown"})})
    assert find_model(other) is None
    changed = contract.robot.model_copy(update={"mjcf_sha256": "0" * 64})
    assert find_model(contract.model_copy(update={"robot": changed})) is None
    assert geometry_checker_for(None, contract, SafetyConfig()) is None
    off = geometry_checker_for(MODEL, contract, SafetyConfig(self_collision_m=None, workspace_margin_m=None))
    assert off is not None
    assert off.blocks([[100.0] * 7], [0.0] * 7) is Reason.FOLLOWING, "with its rules off it only says where the tool is"
