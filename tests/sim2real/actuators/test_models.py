"""Every law against C MuJoCo's own actuator of that kind, or against what the textbook solves by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim2real.actuators.models import DcMotor, Drive, MotorServo, PdServo
from sim2real.backends.native import NativeEnvironment
from sim2real.contract.interface import command
from sim2real.errors import ShoalError
from sim2real.randomised_robots.sampling import neutral_draws
from sim2real.tasks.goal_pool import sample_goal_pool
from sim2real.tasks.task import Task, load_task
from tests.sim2real.planar_arm import write_task

WHEEL = """
<mujoco>
  <option timestep="0.0005" gravity="0 0 0"/>
  <worldbody><body><joint name="axle" axis="0 0 1"/><inertial pos="0 0 0" mass="1" diaginertia="0.1 0.1 0.1"/></body>
  </worldbody>
  <actuator>{}</actuator>
</mujoco>
"""
INERTIA = 0.1
MOTOR = DcMotor(supply_v=24.0, resistance_ohm=0.8, torque_constant_nm_a=0.05, gear_ratio=20.0)


def wheel(actuator: str) -> tuple[mujoco.MjModel, mujoco.MjData]:
    model = mujoco.MjModel.from_xml_string(WHEEL.format(actuator))
    return model, mujoco.MjData(model)


def effort_in_mujoco(actuator: str, control: float, position: float, velocity: float) -> float:
    model, data = wheel(actuator)
    data.ctrl[0], data.qpos[0], data.qvel[0] = control, position, velocity
    mujoco.mj_forward(model, data)
    return float(data.qfrc_actuator[0])


numbers = st.floats(-5, 5)


@given(numbers, numbers, numbers)
def test_pd_is_mujocos_position_actuator(target: float, position: float, velocity: float) -> None:
    servo = PdServo(30.0, 2.0, 40.0)
    ours = servo.effort(*(np.array([value]) for value in (target, position, velocity)))
    reference = '<position joint="axle" kp="30" kv="2" forcerange="-40 40"/>'
    assert ours[0] == pytest.approx(effort_in_mujoco(reference, target, position, velocity), abs=1e-9)


@given(st.floats(-24, 24), st.floats(-40, 40))
def test_the_motor_is_mujocos_dc_motor(voltage: float, velocity: float) -> None:
    reference = '<dcmotor joint="axle" motorconst="0.05 0.05" resistance="0.8" gear="20"/>'
    ours = MOTOR.effort_of_voltage(np.array([voltage]), np.array([velocity]))
    assert ours[0] == pytest.approx(effort_in_mujoco(reference, voltage, 0.0, velocity), abs=1e-9)


def test_a_motor_spins_up_as_the_textbook_says() -> None:
    """Speed under constant voltage: (V / kN) (1 - exp(-t kN^2 / (J R)))."""
    model, data = wheel('<motor joint="axle"/>')
    constant = 0.05 * 20
    speeds = []
    for _ in range(600):
        data.ctrl[0] = MOTOR.effort_of_voltage(np.array([12.0]), data.qvel)[0]
        mujoco.mj_step(model, data)
        speeds.append(data.qvel[0])
    time_s = model.opt.timestep * (1 + np.arange(600))
    expected = 12.0 / constant * (1 - np.exp(-time_s * constant**2 / (INERTIA * 0.8)))
    np.testing.assert_allclose(speeds, expected, rtol=5e-3)
    assert speeds[-1] == pytest.approx(0.5 * float(MOTOR.no_load_speed_rad_s), rel=0.03)


def test_the_torque_speed_curve_is_a_line_from_stall_to_no_load() -> None:
    speed = np.array([0.0, 0.5, 1.0]) * MOTOR.no_load_speed_rad_s
    low, high = MOTOR.limits(speed)
    np.testing.assert_allclose(high, np.array([1.0, 0.5, 0.0]) * MOTOR.stall_effort_nm, atol=1e-9)
    np.testing.assert_allclose(low, np.array([-1.0, -1.5, -2.0]) * MOTOR.stall_effort_nm)
    limited = DcMotor(24.0, 0.8, 0.05, 20.0, current_max_a=10.0)
    np.testing.assert_allclose(limited.limits(np.zeros(1)), [[-10.0], [10.0]])


@given(st.floats(-100, 100), st.floats(-60, 60))
def test_a_motor_servo_gives_what_is_wanted_within_the_curve(target: float, velocity: float) -> None:
    pd = PdServo(50.0, 1.0)
    arguments = np.array([target]), np.zeros(1), np.array([velocity])
    effort, wanted = MotorServo(pd, MOTOR).effort(*arguments), pd.effort(*arguments)
    low, high = MOTOR.limits(arguments[2])
    assert low - 1e-9 <= effort <= high + 1e-9
    if low < wanted < high:
        assert effort == wanted


def test_beyond_its_top_speed_a_servo_only_brakes() -> None:
    servo = PdServo(100.0, 0.0, 50.0, velocity_max=2.0)
    target, velocity = np.array([1.0, 1.0, -1.0, -1.0, 1.0]), np.array([1.9, 2.1, 2.1, -2.1, -2.1])
    np.testing.assert_array_equal(servo.effort(target, np.zeros(5), velocity), [50.0, 0.0, -50.0, 0.0, 50.0])


def test_the_lag_is_mujocos_exact_filter() -> None:
    reference = '<general joint="axle" dyntype="filterexact" dynprm="0.02" gainprm="1" actearly="true"/>'
    (model, data), drive = wheel(reference), Drive(PdServo(1.0, 0.0), lag_s=0.02)
    effort, rng = np.zeros(1), np.random.default_rng(0)
    for _ in range(100):
        data.ctrl[0] = rng.uniform(-5, 5)
        effort = drive.step(effort, data.ctrl, np.zeros(1), np.zeros(1), model.opt.timestep)
        mujoco.mj_step(model, data)
        assert effort[0] == pytest.approx(float(data.actuator_force[0]), abs=1e-12)


def test_a_lag_of_zero_is_none() -> None:
    drive = Drive(PdServo(2.0, 0.0), lag_s=np.array([0.0, 1e9]))
    np.testing.assert_allclose(drive.step(np.ones(2), np.full(2, 3.0), np.zeros(2), np.zeros(2), 0.002), [6.0, 1.0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PdServo(0.0, 1.0), "PdServo.stiffness: 0.0 must be above 0"),
        (lambda: PdServo(1.0, -1.0), "PdServo.damping: -1.0 must not be negative"),
        (lambda: DcMotor(24.0, -1.0, 0.05), "DcMotor.resistance_ohm: -1.0 must be above 0"),
        (lambda: Drive(PdServo(1.0, 0.0), lag_s=-1.0), "Drive.lag_s: -1.0 must not be negative"),
    ],
)
def test_impossible_parameters_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ShoalError, match=message):
        make()


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return load_task(write_task(tmp_path))


def after_swinging(task: Task, **settings: Any) -> NativeEnvironment:
    env = NativeEnvironment(task, num_envs=3, seed=0, pool=sample_goal_pool(task, size=20, seed=0), **settings)
    for step in range(40):
        action = np.full((3, 2), np.sin(0.3 * step), np.float32)
        env.advance(command(np, task.contract, action, env.readings()))
    return env


def test_an_environment_driven_by_pd_is_the_environment_of_the_mjcf(task: Task) -> None:
    plain, driven = after_swinging(task), after_swinging(task, drive=Drive(PdServo.of(task.contract)))
    for name, value in plain.readings().items():
        np.testing.assert_allclose(driven.readings()[name], value, atol=1e-6, err_msg=name)


def test_a_weak_motor_falls_behind(task: Task) -> None:
    strong, weak = (
        MotorServo(PdServo.of(task.contract), DcMotor(24.0, resistance, 0.05, 10.0)) for resistance in (0.5, 60.0)
    )
    plain = after_swinging(task).readings()["joint_position"]
    errors = [
        np.abs(after_swinging(task, drive=Drive(servo)).readings()["joint_position"] - plain).max()
        for servo in (strong, weak)
    ]
    assert errors[0] < 1e-3
    assert errors[1] > 0.02


def test_a_drive_continues_from_a_saved_state(task: Task) -> None:
    drive = Drive(PdServo.of(task.contract), lag_s=0.01)
    env, other = after_swinging(task, drive=drive), after_swinging(task, drive=drive)
    other.reset()
    other.load_state_dict(env.state_dict())
    for each in (env, other):
        each.advance(each.readings()["joint_position_target"])
    np.testing.assert_array_equal(env.readings()["joint_velocity"], other.readings()["joint_velocity"])


def test_scaling_servos_that_a_drive_replaces_is_refused(task: Task) -> None:
    draws = neutral_draws(task, count=3)._replace(effort_limit_scale=np.full((3, 2), 0.5))
    with pytest.raises(ShoalError, match="it replaces the servos that effort_limit_scale would scale"):
        after_swinging(task, draws=draws, drive=Drive(PdServo.of(task.contract)))
