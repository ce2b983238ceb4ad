"""A log's commands through a simulated robot, open loop: what would the model have done?

    simulated = simulate([model], log, task.contract)        # readings at the log's own times
    simulated.joint_position[0] - log.joint_position         # [T, J] rad

The servo's target moves linearly over one control period, then holds, as in training. A delay moves it as a whole, so
commands that arrive late and readings that come late look the same from a log; `delay_s` is their sum.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
from mujoco import rollout

from sim2real.contract import Contract
from sim2real.logs.log import Log
from sim2real.robots.kinematics import Addresses
from sim2real.terms import Scene

_THREADS = os.cpu_count() or 1


@dataclass(frozen=True)
class OpenLoop:
    """Readings of `N` simulated robots at the times of a log of `T` ticks, policy order."""

    joint_position: np.ndarray
    """`[N, T, J]` rad, as the encoders would show it."""
    joint_velocity: np.ndarray
    """`[N, T, J]` rad/s."""


def servo_targets(log: Log, times_s: np.ndarray, delay_s: float = 0.0) -> np.ndarray:
    """Where the servos' targets are at `times_s` `[S]` of the log's clock, `[S, J]` rad."""
    period = log.contract.timing.control_dt_s
    begin = log.time_s
    end = np.minimum(begin + period, np.append(begin[1:], np.inf))
    knots = np.stack([begin, end], axis=1).ravel() + delay_s
    previous = np.concatenate([log.command[:1], log.command[:-1]])
    values = np.stack([previous, log.command], axis=1).reshape(len(knots), -1)
    return np.stack([np.interp(times_s, knots, values[:, joint]) for joint in range(values.shape[1])], axis=1)


def simulate(
    models: Sequence[mujoco.MjModel],
    log: Log,
    *,
    delays_s: np.ndarray | None = None,
    offsets_rad: np.ndarray | None = None,
    threads: int = _THREADS,
) -> OpenLoop:
    """Replay the log's commands on `N` models that differ in parameters only, from the log's first reading.

    Args:
        models: `[N]`, with the contract's physics step.
        log: without gaps, see `Log.segments`.
        delays_s: `[N]`; none if not given.
        offsets_rad: `[N, J]`, what each encoder shows beyond the truth, to its servo as well; none if not given.
        threads: simulations at a time.
    """
    contract, count = log.contract, len(models)
    addresses, step = Addresses.of(models[0], contract.robot), models[0].opt.timestep
    joints = len(contract.joint_names)
    delays = np.zeros(count) if delays_s is None else delays_s
    offsets = np.zeros((count, joints)) if offsets_rad is None else offsets_rad
    start = log.measured_s[0]
    steps = int(np.ceil((log.measured_s[-1] - start) / step - 1e-6))
    # MuJoCo applies one control during a step; drivers and training use the target's value at the step's end.
    ends = start + step * np.arange(1, steps + 1)
    control = np.tile(addresses.rest_ctrl, (count, steps, 1))
    for delay in np.unique(delays):
        which = np.flatnonzero(delays == delay)
        targets = servo_targets(log, ends, float(delay)) - offsets[which, None]
        control[np.ix_(which, np.arange(steps), addresses.actuator)] = addresses.control(targets)
    first = np.stack([_state(models[0], addresses, log, 0, offset) for offset in offsets])
    datas = [mujoco.MjData(models[0]) for _ in range(min(threads, count))]
    state, _ = rollout.rollout(list(models), datas, first, control)
    times = np.append(start, ends)
    trajectory = np.concatenate([first[:, None], state], axis=1)[:, :, 1:]
    motion = np.split(trajectory, [models[0].nq, models[0].nq + models[0].nv], axis=2)
    position = _sample(times, addresses.joint_position(motion[0]), log.measured_s) + offsets[:, None]
    velocity = _sample(times, addresses.joint_velocity(motion[1]), log.measured_s)
    return OpenLoop(position, velocity)


def simulate_from(model: mujoco.MjModel, log: Log, starts: np.ndarray, ticks: int) -> np.ndarray:
    """Joint positions `[N, ticks + 1, J]` rad at the ticks that follow each measured state, `starts` `[N]` of them.

    The ticks are taken to be one control period apart.
    """
    contract, count = log.contract, len(starts)
    addresses, step, substeps = Addresses.of(model, contract.robot), model.opt.timestep, contract.timing.substeps
    ends = log.measured_s[starts][:, None] + step * np.arange(1, ticks * substeps + 1)
    control = np.tile(addresses.rest_ctrl, (count, ends.shape[1], 1))
    targets = servo_targets(log, ends.ravel()).reshape(count, ends.shape[1], -1)
    control[:, :, addresses.actuator] = addresses.control(targets)
    first = np.stack([_state(model, addresses, log, int(tick), np.zeros(len(addresses.qpos))) for tick in starts])
    datas = [mujoco.MjData(model) for _ in range(min(_THREADS, count))]
    state, _ = rollout.rollout([model] * count, datas, first, control)
    every = np.concatenate([first[:, None], state[:, substeps - 1 :: substeps]], axis=1)
    return np.asarray(addresses.joint_position(every[:, :, 1 : 1 + model.nq]))


def own_readings(
    model: mujoco.MjModel, contract: Contract, joint_position: np.ndarray, joint_velocity: np.ndarray
) -> dict[str, np.ndarray]:
    """What else encoders and forward kinematics tell of joints `[T, J]`, `[T, size]` by the contract's names."""
    addresses = Addresses.of(model, contract.robot)
    scene = Scene(model, contract.robot, addresses.rest_qpos, contract.timing.control_dt_s)
    told = [contract.reading(name) for name in contract.measured.sizes]
    told = [reading for reading in told if not reading.per_joint]
    readings = [reading for reading in told if reading.source in ("encoder", "forward_kinematics")]
    found = {reading.name: np.zeros((len(joint_position), reading.size)) for reading in readings}
    data = addresses.home_data(model)
    simulated = scene.simulated([data])
    for tick, (joints, speeds) in enumerate(zip(joint_position, joint_velocity, strict=True)):
        addresses.place(data.qpos, joints)
        addresses.place_velocity(data.qvel, speeds)
        mujoco.mj_kinematics(model, data)
        for reading in readings:
            found[reading.name][tick] = reading.sense(np, simulated)[0]
    return found


def tool_poses(model: mujoco.MjModel, contract: Contract, joint_position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tool positions `[T, 3]` m and orientations `[T, 4]` wxyz from joint positions `[T, J]` rad."""
    addresses = Addresses.of(model, contract.robot)
    data = addresses.home_data(model)
    position, orientation = np.zeros((len(joint_position), 3)), np.zeros((len(joint_position), 4))
    for tick, joints in enumerate(joint_position):
        addresses.place(data.qpos, joints)
        mujoco.mj_kinematics(model, data)
        position[tick] = data.site_xpos[addresses.site]
        mujoco.mju_mat2Quat(orientation[tick], data.site_xmat[addresses.site])
    return position, orientation


def _state(model: mujoco.MjModel, addresses: Addresses, log: Log, tick: int, offset: np.ndarray) -> np.ndarray:
    """The measured state of one tick, as `mujoco.rollout` takes it."""
    data = addresses.home_data(model)
    addresses.place(data.qpos, log.joint_position[tick] - offset)
    addresses.place_velocity(data.qvel, log.joint_velocity[tick])
    data.time = log.measured_s[tick]
    kind = int(mujoco.mjtState.mjSTATE_FULLPHYSICS)
    state = np.empty(mujoco.mj_stateSize(model, kind))
    mujoco.mj_getState(model, data, state, kind)
    return state


def _sample(times: np.ndarray, values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Linear interpolation of `[N, S, J]` given at `times` `[S]`, evenly spaced, to `[N, T, J]`."""
    place = np.clip((at - times[0]) / (times[1] - times[0]), 0, len(times) - 1)
    index = np.minimum(place.astype(int), len(times) - 2)
    share = (place - index)[:, None]
    return np.asarray(values[:, index] * (1 - share) + values[:, index + 1] * share)
