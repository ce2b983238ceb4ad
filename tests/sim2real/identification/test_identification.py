"""Identification: what it recovers, what it admits it cannot, and what randomisation follows."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.sim2real.hidden_robot import Truth
from benchmarks.sim2real.identification import robot_task
from sim2real.errors import ShoalError
from sim2real.identification import noise
from sim2real.identification.excitation import (
    Trajectory,
    fourier,
    random_coefficients,
    read_trajectory,
    suggest,
    write_trajectory,
)
from sim2real.identification.fit import Identified, fit, not_below
from sim2real.identification.parameters import Bounds, make_problem
from sim2real.identification.ranges import condition_number, justified, limits_of_knowledge, weak_directions
from sim2real.randomisation.config import Randomisation, dump_randomisation, load_randomisation
from sim2real.tasks.task import Task, load_task
from tests.sim2real.planar_arm import write_task
from tests.sim2real.recordings import excited


@pytest.fixture(scope="module")
def task() -> Task:
    return robot_task("planar")


TRUTH = Truth(
    friction_loss=np.array([0.35, 0.2]),
    servo_stiffness=np.array([90.0, 57.0]),
    payload_mass_kg=0.6,
    action_delay_s=0.013,
    noise_std_rad=3e-4,
)


@pytest.fixture(scope="module")
def found(task: Task) -> Identified:
    problem = make_problem(
        str(task.mjcf_path), task.contract, ["friction_loss", "servo_stiffness", "payload_mass", "action_delay"]
    )
    return fit(problem, excited(task, TRUTH, duration_s=5.0).segments())


def test_recovers_what_the_log_shows(found: Identified) -> None:
    true = [0.35, 0.2, 90.0, 57.0, 0.6, 0.013]
    for estimate, value in zip(found.estimates, true, strict=True):
        assert abs(estimate.value - value) < 4 * estimate.std, estimate.quantity.name
        assert estimate.low < estimate.value < estimate.high
        assert estimate.share_of_bounds < 0.1
    np.testing.assert_allclose(found.noise_std, 3e-4, rtol=0.2)
    assert limits_of_knowledge(found) == []


def test_each_joint_gets_the_range_of_its_interval_and_loads_back(found: Identified, tmp_path: Path) -> None:
    base = load_randomisation("mild")
    setting, said = justified(found, base)
    stiffness = found.estimates[2:4]
    ranges = [joint.support for joint in setting.servo_stiffness_scale.each]
    assert ranges == [pytest.approx((e.low / e.quantity.nominal, e.high / e.quantity.nominal)) for e in stiffness]
    for (low, high), true in zip(ranges, (0.9, 57 / 50), strict=True):
        assert low < true < high
    assert setting.payload_mass_kg.support[0] < 0.6 < setting.payload_mass_kg.support[1]
    assert setting.armature_scale == base.armature_scale
    assert any(sentence.startswith("action_delay_s: 0.01") for sentence in said)
    (tmp_path / "r.yaml").write_text(dump_randomisation(setting))
    assert load_randomisation(tmp_path / "r.yaml") == setting


def test_joints_that_the_log_does_not_tell_keep_what_they_had(found: Identified) -> None:
    base = load_randomisation("hard")
    blind = dataclasses.replace(
        found,
        estimates=[
            dataclasses.replace(e, low=0.0, high=1e3) if e.quantity.name == "servo_stiffness elbow" else e
            for e in found.estimates
        ],
    )
    told = found.estimates[2]
    assert told.quantity.name == "servo_stiffness shoulder"
    setting, said = justified(blind, base)
    shoulder, elbow = setting.servo_stiffness_scale.each
    assert shoulder.support == pytest.approx((told.low / told.quantity.nominal, told.high / told.quantity.nominal))
    assert elbow == base.servo_stiffness_scale
    assert any("as before for what the log does not tell, servo_stiffness elbow" in sentence for sentence in said)


def test_what_acts_only_together_is_said(task: Task) -> None:
    bounds = Bounds(damping_scale=(0.0, 60.0))
    problem = make_problem(str(task.mjcf_path), task.contract, ["damping", "servo_damping"], bounds=bounds)
    result = fit(problem, excited(task, Truth(noise_std_rad=1e-3), duration_s=5.0).segments())
    said = limits_of_knowledge(result)
    together = [sentence for sentence in said if sentence.startswith("only together")]
    assert any("damping shoulder" in sentence and "servo_damping shoulder" in sentence for sentence in together)
    assert condition_number(result.information) > 10


def test_encoder_bias_without_gravity_is_admitted_unknown(tmp_path: Path) -> None:
    flat = load_task(write_task(tmp_path))
    problem = make_problem(str(flat.mjcf_path), flat.contract, ["joint_offset"])
    truth = Truth(joint_offset_rad=np.array([0.02, 0.02]), noise_std_rad=1e-3)
    result = fit(problem, excited(flat, truth, duration_s=5.0).segments())
    assert result.estimates[0].share_of_bounds > 0.95
    assert "joint_offset shoulder: its interval covers" in limits_of_knowledge(result)[0]
    setting, reasons = justified(result, load_randomisation("off"))
    assert "joint_offset_rad" not in setting.active
    assert "as before, since the log does not tell joint_offset shoulder" in reasons[0]


class Heavier(Truth):
    def model(self, task: Task) -> mujoco.MjModel:
        model = super().model(task)
        model.body("lower").mass[0] *= 1.3
        mujoco.mj_setConst(model, mujoco.MjData(model))
        return model


def test_pseudo_inertia_of_a_body(task: Task) -> None:
    problem = make_problem(str(task.mjcf_path), task.contract, [], bodies=["lower"])
    result = fit(problem, excited(task, Heavier(noise_std_rad=1e-4), duration_s=5.0).segments())
    by_name = {e.quantity.name: e for e in result.estimates}
    mass = by_name["lower log mass / 2"]
    assert mass.low <= 0.5 * np.log(0.65) <= mass.high
    assert mass.value > mass.quantity.nominal
    assert by_name["lower shear yz"].share_of_bounds > 0.9  # a planar arm shows nothing of it
    assert weak_directions(result.information)


@pytest.mark.parametrize(
    ("kinds", "bodies", "message"),
    [
        (["colour"], [], "--fit: colour cannot be fitted; use damping"),
        ([], [], "--fit: nothing cannot be fitted"),
        (["damping"], ["tail"], "--bodies: the MJCF has no body 'tail' with a mass"),
    ],
)
def test_what_cannot_be_fitted_is_one_sentence(task: Task, kinds: list, bodies: list, message: str) -> None:
    with pytest.raises(ShoalError, match=message):
        make_problem(str(task.mjcf_path), task.contract, kinds, bodies=bodies)


def test_bounds_that_exclude_the_truth_are_noticed(task: Task) -> None:
    bounds = Bounds(servo_stiffness_scale=(0.95, 1.05))
    problem = make_problem(str(task.mjcf_path), task.contract, ["servo_stiffness"], bounds=bounds)
    result = fit(problem, excited(task, TRUTH, duration_s=4.0).segments())
    said = " ".join(limits_of_knowledge(result))
    assert "servo_stiffness shoulder: the best value 95 N m/rad is at its bound" in said


def test_noise_is_recognised_and_whitened() -> None:
    rng = np.random.default_rng(0)
    white = rng.normal(size=(3000, 2))
    coloured = white.copy()
    for t in range(1, len(coloured)):
        coloured[t, 1] += 0.8 * coloured[t - 1, 1]
    found = noise.estimate([coloured], parameters=0, floor=1e-9)
    assert np.abs(found.coefficients[0]).sum() < 0.1
    assert found.coefficients[1][0] == pytest.approx(0.8, abs=0.06)
    np.testing.assert_allclose(found.innovation_std, 1.0, rtol=0.05)
    assert noise.left_over_correlation([coloured]) > 0.7
    assert noise.left_over_correlation([found.whiten(coloured)]) < 0.06


def test_score_covariance_sees_correlation() -> None:
    rng = np.random.default_rng(0)
    white = rng.normal(size=(20000, 1))
    slow = np.convolve(white[:, 0], [1, 0.9, 0.8, 0.7], "valid")[:, None]
    assert noise.score_covariance([white])[0, 0] / len(white) == pytest.approx(1.0, rel=0.15)
    plain, long_run = float(np.mean(slow**2)), noise.score_covariance([slow])[0, 0] / len(slow)
    assert plain == pytest.approx(2.94, rel=0.1)
    assert long_run == pytest.approx(3.4**2, rel=0.25)


@given(st.integers(0, 10_000))
def test_robust_variances_are_raised_and_never_lowered(seed: int) -> None:
    rng = np.random.default_rng(seed)
    plain, robust = (a @ a.T + 0.1 * np.eye(4) for a in rng.normal(size=(2, 4, 4)))
    raised = not_below(plain, robust)
    np.testing.assert_allclose(raised.diagonal(), np.maximum(plain.diagonal(), robust.diagonal()))
    assert np.linalg.eigvalsh(raised).min() > 0
    np.testing.assert_allclose(correlation(raised), correlation(robust))


def correlation(covariance: np.ndarray) -> np.ndarray:
    std = np.sqrt(covariance.diagonal())
    return np.asarray(covariance / np.outer(std, std))


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.sampled_from(["planar", "franka_pose"]))
def test_trajectories_keep_within_limits(seed: int, robot: str) -> None:
    planar = robot_task("planar")
    task = planar if robot == "planar" else load_task(robot)
    contract = task.contract
    trajectory = fourier(task, random_coefficients(len(contract.joint_names), np.random.default_rng(seed)), 6.0)
    command = trajectory.command
    for joint, column in zip(contract.robot.joints, command.T, strict=True):
        assert joint.position_min <= column.min()
        assert column.max() <= joint.position_max
        assert column[0] == pytest.approx(joint.home_position)
        assert column[-1] == pytest.approx(joint.home_position)
    assert (np.abs(np.diff(command, axis=0)) <= np.array(contract.action.step_max) * (1 + 1e-9)).all()
    data = mujoco.MjData(task.model)
    for joints in command[::4]:
        data.qpos[: len(joints)] = joints
        mujoco.mj_forward(task.model, data)
        assert data.ncon == 0
    assert np.ptp(command, axis=0).min() > 0.01


def test_suggested_trajectory_tells_more_than_the_first(task: Task) -> None:
    problem = make_problem(str(task.mjcf_path), task.contract, ["friction_loss", "armature"])
    best = suggest(problem, task, duration_s=5.0, candidates=12, seed=0)
    prior = np.eye(4) * 4
    gained = np.linalg.slogdet(best.information + prior)[1] - np.linalg.slogdet(best.first_information + prior)[1]
    assert gained > 0.1
    assert (best.expected_std() < 0.5).all()


def test_trajectory_file_and_back(task: Task, tmp_path: Path) -> None:
    trajectory = fourier(task, random_coefficients(2, np.random.default_rng(0)), 5.0)
    write_trajectory(trajectory, tmp_path / "t.csv")
    np.testing.assert_allclose(
        read_trajectory(tmp_path / "t.csv", task.contract).command, trajectory.command, atol=1e-8
    )
    lines = (tmp_path / "t.csv").read_text().splitlines()
    for edit, message in (
        (lines[1:], "the columns must be time_s, shoulder, elbow"),
        ([*lines[:3], *lines[5:]], r"give finite targets every 0\.02 s"),
        ([*lines[:3], "0.04,nan,0"], "give finite targets"),
        ([lines[0], "0,x,1"], "not a table of numbers"),
    ):
        (tmp_path / "bad.csv").write_text("\n".join(edit))
        with pytest.raises(ShoalError, match=message):
            read_trajectory(tmp_path / "bad.csv", task.contract)
    for content, message in (
        (b"\xff\xfe", "not a table of numbers"),
        (b"", "the columns must be"),
        (b"x" * 200_000, "not a table of numbers: field larger"),
        (b",".join([b"x" * 90_000] * 9), "the columns must be .{,400}$"),
        (lines[0].encode() + b"\n0,0,0\n1e308,0,0\n-1e308,0,0", "give finite targets"),
        (lines[0].encode() + b"\n0,0\n0.02,0", "not a table of numbers"),
    ):
        (tmp_path / "bad.csv").write_bytes(content)
        with pytest.raises(ShoalError, match=message):
            read_trajectory(tmp_path / "bad.csv", task.contract)
    (tmp_path / "marked.csv").write_text("\ufeff" + "\n".join(lines))
    assert len(read_trajectory(tmp_path / "marked.csv", task.contract).command) == len(trajectory.command)
    with pytest.raises(ShoalError, match="cannot read"):
        read_trajectory(tmp_path, task.contract)
    assert isinstance(trajectory, Trajectory)


def test_no_log_no_fit(task: Task) -> None:
    problem = make_problem(str(task.mjcf_path), task.contract, ["damping"])
    with pytest.raises(ShoalError, match="no stretch of a second or more"):
        fit(problem, [])
    assert isinstance(load_randomisation("off"), Randomisation)
