"""A robot that differs from its model in ways that its logs must reveal: stands in for a real one.

Written step by step with `mj_step`, apart from the rollouts that reports and identification use.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np

from runtime.diagnostics.trajectory_player import tick_record
from runtime.recording.writer import Recorder
from sim2real.logs.log import Log
from sim2real.logs.openloop import own_readings
from sim2real.logs.robot_check import Sample
from sim2real.robots.kinematics import Addresses
from sim2real.tasks.task import Task


@dataclass(frozen=True)
class Truth:
    """What is different. Joint arrays `[J]`, policy order; None leaves what the model says."""

    damping: np.ndarray | None = None
    friction_loss: np.ndarray | None = None
    armature: np.ndarray | None = None
    servo_stiffness: np.ndarray | None = None
    servo_damping: np.ndarray | None = None
    joint_offset_rad: np.ndarray | None = None
    """Reading minus truth, for the servo too."""
    payload_mass_kg: float = 0.0
    action_delay_s: float = 0.0
    action_jitter_s: float = 0.0
    """Commands are up to this much later still, uniformly, each anew."""
    noise_std_rad: float = 0.0

    def mean_delay_s(self, period_s: float) -> float:
        """The time by which a steady ramp of commands comes late on average; jitter adds a little more than its
        mean.
        """
        rng, ramp = np.random.default_rng(0), np.arange(4000.0)[:, None]
        servo = _Servo(ramp, self.arrivals(len(ramp), period_s, rng), period_s)
        times = np.linspace(0.1, 0.9, 20_000) * len(ramp) * period_s
        late = [time_s - period_s * (1 + servo.target(time_s)[0]) for time_s in times]
        return float(np.mean(late))

    def arrivals(self, count: int, period_s: float, rng: np.random.Generator) -> np.ndarray:
        """Times at which each of `count` commands reaches the servo, `[count]` s."""
        late = self.action_delay_s + self.action_jitter_s * rng.random(count)
        return np.maximum.accumulate(period_s * np.arange(count) + late)

    def model(self, task: Task) -> mujoco.MjModel:
        """The task's model with the differences written into its fields."""
        spec = task.spec()
        if self.payload_mass_kg > 0:
            addresses = Addresses.of(task.model, task.contract.robot)
            site = spec.site(task.contract.robot.end_effector_frame)
            body = spec.body(task.model.body(addresses.body).name)
            # Without ipos MuJoCo puts the centre of mass another site.pos further out.
            body.add_body(
                name="payload",
                pos=site.pos,
                explicitinertial=True,
                mass=self.payload_mass_kg,
                ipos=[0.0] * 3,
                inertia=[1e-9] * 3,
            )
        model = spec.compile()
        model.opt.timestep = task.contract.timing.physics_dt_s
        at = Addresses.of(model, task.contract.robot)
        for values, array in (
            (self.damping, model.dof_damping),
            (self.friction_loss, model.dof_frictionloss),
            (self.armature, model.dof_armature),
        ):
            if values is not None:
                array[at.dof] = values
        if self.servo_stiffness is not None:
            model.actuator_gainprm[at.actuator, 0] = self.servo_stiffness
            model.actuator_biasprm[at.actuator, 1] = -self.servo_stiffness
        if self.servo_damping is not None:
            model.actuator_biasprm[at.actuator, 2] = -self.servo_damping
        mujoco.mj_setConst(model, mujoco.MjData(model))
        return model


def play(task: Task, truth: Truth, command: np.ndarray, *, seed: int) -> Log:
    """The log of commands `[T, J]` rad given to the hidden robot at the control rate, from rest at the first."""
    contract, model, rng = task.contract, truth.model(task), np.random.default_rng(seed)
    at = Addresses.of(model, contract.robot)
    data = at.home_data(model)
    joints = len(contract.joint_names)
    offset = np.zeros(joints) if truth.joint_offset_rad is None else truth.joint_offset_rad
    period, substeps = contract.timing.control_dt_s, contract.timing.substeps
    at.place(data.qpos, command[0] - offset)
    arrivals = (
        truth.action_delay_s + period * np.arange(len(command)) + truth.action_jitter_s * rng.random(len(command))
    )
    servo = _Servo(command, np.maximum.accumulate(arrivals), period)
    positions, velocities = np.zeros((2, len(command), joints))
    for tick in range(len(command)):
        positions[tick], velocities[tick] = at.joint_position(data.qpos) + offset, at.joint_velocity(data.qvel)
        for _ in range(substeps):
            data.ctrl[at.actuator] = at.control(servo.target(data.time + model.opt.timestep) - offset)
            mujoco.mj_step(model, data)
    noisy = positions + truth.noise_std_rad * rng.normal(size=positions.shape)
    time_s = period * np.arange(len(command))
    others = own_readings(model, contract, noisy, velocities)
    return Log(contract, "hidden robot", time_s, time_s, noisy, velocities, command, others)


class _Servo:
    """Moves its target linearly, over one control period, from where it is to each command that arrives."""

    def __init__(self, command: np.ndarray, arrivals: np.ndarray, period: float) -> None:
        self._command, self._arrivals, self._period = command, arrivals, period
        self._next, self._since = 0, 0.0
        self._begin = self._end = command[0]

    def target(self, time_s: float) -> np.ndarray:
        while self._next < len(self._arrivals) and self._arrivals[self._next] <= time_s:
            arrival = float(self._arrivals[self._next])
            self._begin, self._end = self._at(arrival), self._command[self._next]
            self._since, self._next = arrival, self._next + 1
        return self._at(time_s)

    def _at(self, time_s: float) -> np.ndarray:
        share = min(max((time_s - self._since) / self._period, 0.0), 1.0)
        return np.asarray(self._begin + share * (self._end - self._begin))


def record(path: Path, log: Log) -> Path:
    """Write a log as `runtime play` would have."""
    recorder = Recorder(path, log.contract, {})
    for tick in range(len(log)):
        sample = Sample(
            log.time_s[tick],
            log.measured_s[tick],
            log.joint_position[tick],
            log.joint_velocity[tick],
            np.concatenate([log.measured(name)[tick] for name in log.contract.measured.sizes]),
        )
        recorder.write(tick_record(log.contract, tick + 1, sample, log.command[tick], 50_000))
    recorder.close()
    return path
