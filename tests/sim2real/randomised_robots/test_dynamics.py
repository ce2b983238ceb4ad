"""Each term changes the dynamics that it names, by as much as mechanics says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest

from sim2real.randomisation.config import load_randomisation
from sim2real.randomised_robots.dynamics import Dynamics, make_dynamics
from sim2real.randomised_robots.sampling import Draws, link_ids, neutral_draws, sample
from sim2real.robots.kinematics import Addresses
from sim2real.robots.model import compiled_digest
from sim2real.tasks.task import Task, load_task
from tests.sim2real.planar_arm import MJCF, write_task


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task("franka_reach")


@pytest.fixture
def arm(tmp_path: Path) -> Task:
    """The planar arm with joint friction, turned so that gravity loads its joints, and compensated."""
    mjcf = MJCF.replace('axis="0 0 1"', 'axis="0 1 0" damping="0.3" frictionloss="0.1"')
    mjcf = mjcf.replace('<body name="upper"', '<body name="upper" gravcomp="1"')
    return load_task(write_task(tmp_path, mjcf=mjcf.replace('<body name="lower"', '<body name="lower" gravcomp="1"')))


def changed(task: Task, **values: Any) -> Draws:
    """One robot that differs from the model in the given terms only."""
    neutral = neutral_draws(task, count=1)
    return neutral._replace(**{name: np.full_like(getattr(neutral, name), value) for name, value in values.items()})


def inverse_effort(dynamics: Dynamics, task: Task, position: Any, velocity: Any = 0.0, acceleration: Any = 0.0) -> Any:
    """Torque that the motors must give at rest or in motion, `[J]`, without servos."""
    model = dynamics.robot(0)
    data, a = mujoco.MjData(model), Addresses.of(model, task.contract.robot)
    model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_ACTUATION | mujoco.mjtDisableBit.mjDSBL_CONSTRAINT)
    data.qpos[a.qpos], data.qvel[a.dof], data.qacc[a.dof] = position, velocity, acceleration
    data.xfrc_applied[:] = dynamics.external_force(0)
    mujoco.mj_inverse(model, data)
    # xfrc_applied is an input of the forward dynamics only: inverse dynamics gives joint and Cartesian forces together.
    applied = np.zeros(model.nv)
    for body in range(model.nbody):
        force, torque = data.xfrc_applied[body, :3], data.xfrc_applied[body, 3:]
        mujoco.mj_applyFT(model, data, force, torque, data.xipos[body], body, applied)
    return (data.qfrc_inverse - applied)[a.dof]


POSES = np.array([[0.3, -0.7], [1.2, 0.4], [-0.5, 1.9]])


def weight(task: Task, body: str, mass: float, point: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Torque that lifts a point mass fixed to a body, `[J]`, from Jacobians."""
    data, jacobian = mujoco.MjData(task.model), np.zeros((3, task.model.nv))
    data.qpos[:] = position
    mujoco.mj_forward(task.model, data)
    index = task.model.body(body).id
    where = data.xpos[index] + data.xmat[index].reshape(3, 3) @ point
    mujoco.mj_jac(task.model, data, jacobian, None, where, index)
    lifting: np.ndarray = jacobian.T @ np.array([0, 0, 9.81 * mass])
    return lifting


def test_the_nominal_robot_holds_itself_up(arm: Task) -> None:
    for position in POSES:
        effort = inverse_effort(make_dynamics(arm, neutral_draws(arm, count=1)), arm, position)
        np.testing.assert_allclose(effort, 0.0, atol=1e-12)


@pytest.mark.parametrize("position", POSES)
def test_compensation_keeps_to_the_nominal_mass(arm: Task, position: np.ndarray) -> None:
    effort = inverse_effort(make_dynamics(arm, changed(arm, link_mass_scale=1.2)), arm, position)
    expected = sum(
        weight(arm, name, 0.2 * arm.model.body(name).mass[0], arm.model.body(name).ipos, position)
        for name in ("upper", "lower")
    )
    np.testing.assert_allclose(effort, expected, atol=1e-9)


@pytest.mark.parametrize("position", POSES)
def test_compensation_keeps_to_the_nominal_centre_of_mass(arm: Task, position: np.ndarray) -> None:
    offset = np.array([[[0.02, 0.0, -0.01], [-0.03, 0.01, 0.005]]])
    draws = neutral_draws(arm, count=1)._replace(link_com_offset_m=offset, link_mass_scale=np.array([[1.1, 0.8]]))
    expected = np.zeros(2)
    for name, scale, move in zip(("upper", "lower"), (1.1, 0.8), offset[0], strict=True):
        body = arm.model.body(name)
        expected += weight(arm, name, scale * body.mass[0], body.ipos + move, position)
        expected -= weight(arm, name, body.mass[0], body.ipos, position)
    np.testing.assert_allclose(inverse_effort(make_dynamics(arm, draws), arm, position), expected, atol=2e-5)


@pytest.mark.parametrize("position", POSES)
def test_a_payload_weighs_at_the_tool(arm: Task, position: np.ndarray) -> None:
    offset = np.array([0.01, 0.02, -0.03])
    draws = neutral_draws(arm, count=1)._replace(payload_mass_kg=np.array([0.7]), payload_offset_m=offset[None])
    expected = weight(arm, "lower", 0.7, arm.model.site("tool").pos + offset, position)
    np.testing.assert_allclose(inverse_effort(make_dynamics(arm, draws), arm, position), expected, atol=1e-9)


@pytest.mark.parametrize("position", POSES)
def test_gravity_that_the_compensation_does_not_know_of(arm: Task, position: np.ndarray) -> None:
    """A mounting that leans by an angle about y is an arm whose first joint, about y as well, lags by that angle."""
    tilt = 0.1
    draws = neutral_draws(arm, count=1)._replace(gravity_tilt_rad=np.array([[0.0, tilt]]))
    names = ("upper", "lower")
    lean = position + np.array([tilt, 0])
    leaning = [weight(arm, n, arm.model.body(n).mass[0], arm.model.body(n).ipos, lean) for n in names]
    upright = [weight(arm, n, arm.model.body(n).mass[0], arm.model.body(n).ipos, position) for n in names]
    effort = inverse_effort(make_dynamics(arm, draws), arm, position)
    np.testing.assert_allclose(effort, np.sum(leaning, axis=0) - np.sum(upright, axis=0), atol=1e-9)
    lighter = inverse_effort(make_dynamics(arm, changed(arm, gravity_scale=0.5)), arm, position)
    np.testing.assert_allclose(lighter, -0.5 * np.sum(upright, axis=0), atol=1e-9)


@pytest.mark.parametrize(
    ("term", "value", "field"),
    [
        ("armature_scale", 1.3, "dof_armature"),
        ("damping_scale", 2.0, "dof_damping"),
        ("friction_loss_scale", 2.0, "dof_frictionloss"),
        ("servo_stiffness_scale", 0.7, "actuator_gainprm"),
        ("servo_damping_scale", 0.6, "actuator_biasprm"),
        ("effort_limit_scale", 0.5, "actuator_forcerange"),
        ("friction_scale", 0.5, "geom_friction"),
        ("link_inertia_scale", 1.5, "body_inertia"),
    ],
)
def test_a_scale_multiplies_its_field_and_no_other(arm: Task, term: str, value: float, field: str) -> None:
    fields = make_dynamics(arm, changed(arm, **{term: value})).fields
    derived = {"body_subtreemass", "body_invweight0", "dof_invweight0", "dof_M0", "actuator_acc0", "tendon_invweight0"}
    extra = {"servo_stiffness_scale": {"actuator_biasprm"}}.get(term, set())
    assert set(fields) - derived == {field} | extra
    ratio = fields[field][0] / np.where(getattr(arm.model, field) == 0, 1, getattr(arm.model, field))
    assert set(np.round(np.unique(ratio), 12)) <= {0.0, 1.0, value}
    assert value in np.round(ratio, 12)


def test_friction_that_the_model_does_not_have(arm: Task, tmp_path: Path) -> None:
    plain = load_task(write_task(tmp_path))
    assert np.all(plain.model.dof_frictionloss == 0)
    dynamics = make_dynamics(plain, changed(plain, friction_loss_add_nm=0.4))
    assert np.all(dynamics.model.dof_frictionloss > 0), "MJX makes rows for joints with friction only"
    np.testing.assert_allclose(dynamics.fields["dof_frictionloss"], 0.4, atol=1e-8)


def test_inertia_about_a_joint(arm: Task) -> None:
    """Torque per acceleration of the elbow: inertia about its axis plus armature, analytically."""
    draws = changed(arm, link_mass_scale=1.5, link_inertia_scale=2.0, armature_scale=3.0, payload_mass_kg=0.4)
    resting, moving = (
        inverse_effort(make_dynamics(arm, draws), arm, [0.3, 0.8], acceleration=[0.0, a])[1] for a in (0.0, 1.0)
    )
    expected = 1.5 * 2.0 * 0.004 + 1.5 * 0.5 * 0.1**2 + 0.4 * 0.2**2 + 3.0 * 0.02
    assert moving - resting == pytest.approx(expected, rel=1e-9)


def test_derived_constants_are_those_of_mujoco(task: Task) -> None:
    dynamics = make_dynamics(task, sample(load_randomisation("hard"), task, count=4, seed=0))
    for index in range(4):
        model = dynamics.robot(index)
        again = dynamics.robot(index)
        mujoco.mj_setConst(again, mujoco.MjData(again))
        for field in dynamics.fields:
            np.testing.assert_allclose(getattr(model, field), getattr(again, field), rtol=1e-12, err_msg=field)


def test_robots_with_bodies_of_their_own_move_as_the_model_does(task: Task) -> None:
    """Splitting links and adding an empty payload changes nothing by itself."""
    draws = changed(task, link_com_offset_m=1e-12, payload_mass_kg=1e-12)
    models = make_dynamics(task, draws).robot(0), task.model
    assert models[0].nbody == task.model.nbody + len(link_ids(task.model, task.contract)) + 1
    ends = []
    for model in models:
        data, a = mujoco.MjData(model), Addresses.of(model, task.contract.robot)
        data.qpos[a.qpos] = [joint.home_position for joint in task.contract.robot.joints]
        data.ctrl[a.actuator] = data.qpos[a.qpos] + 0.3
        for _ in range(500):
            mujoco.mj_step(model, data)
        ends.append(data.qpos[a.qpos].copy())
    np.testing.assert_allclose(ends[0], ends[1], atol=1e-6)


def test_the_tasks_model_and_digest_stay(task: Task) -> None:
    before = compiled_digest(task.model)
    make_dynamics(task, sample(load_randomisation("hard"), task, count=2, seed=0)).robot(0)
    assert compiled_digest(task.model) == before == task.contract.robot.mjcf_sha256


@pytest.mark.parametrize(("name", "base"), [("quadruped_walk", "base"), ("ant", "torso")])
def test_a_robot_without_a_tool_carries_its_payload_on_its_base(name: str, base: str) -> None:
    task = load_task(name)
    dynamics = make_dynamics(task, changed(task, payload_mass_kg=2.0))
    model = dynamics.robot(0)
    assert model.body_mass.sum() == pytest.approx(task.model.body_mass.sum() + 2.0)
    payload = model.body("shoal_payload")
    assert model.body(int(payload.parentid[0])).name == base
    assert float(payload.mass[0]) == pytest.approx(2.0)


def test_what_is_mild_can_be_drawn_for_robots_without_a_tool() -> None:
    task = load_task("quadruped_walk")
    draws = sample(load_randomisation("mild"), task, count=3, seed=0)
    assert np.ptp(make_dynamics(task, draws).fields["body_mass"].sum(axis=-1)) > 0.01
