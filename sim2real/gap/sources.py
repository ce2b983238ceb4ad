"""Logs to compare with, made here: a policy with random goals in MJX, in native MuJoCo, or on a Franka.

A real Franka, or franky-sim, is driven by `runtime serve` as a program of its own, whose recording is then read.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from sim2real.child_process import python_module
from sim2real.contract import Contract
from sim2real.errors import ShoalError
from sim2real.evaluation.onnx_policy import OnnxPolicy
from sim2real.gap.closed_loop import Body, NativeBody, run_policy
from sim2real.logs.log import Log, LoggedGoal, read_log
from sim2real.robots.kinematics import Addresses
from sim2real.tasks.goal_pool import sample_goal_pool
from sim2real.tasks.task import Task

Progress = Callable[[float], None]
_START_S = 60.0


def random_goals(task: Task, count: int, *, seed: int) -> list[LoggedGoal]:
    """Goals that can be reached, one episode each, with the contract's coarse tolerance; the first at the second tick,
    so that a log begins at rest.
    """
    pool, goal, timing = sample_goal_pool(task, size=count, seed=seed), task.contract.goal, task.contract.timing
    return [
        LoggedGoal(
            time_s=timing.control_dt_s + number * timing.episode_s,
            request=tuple(pool.goal[number].tolist()),
            position_tolerance_m=goal.coarse_position_m,
            angle_tolerance_deg=goal.coarse_angle_deg,
        )
        for number in range(count)
    ]


def from_native(task: Task, policy: OnnxPolicy, goals: list[LoggedGoal], *, model: mujoco.MjModel) -> Log:
    """The policy in C MuJoCo, from home."""
    body = NativeBody(model, task.contract, _home(task.contract))
    return _closed_loop(task, policy, goals, body, "native MuJoCo")


def from_mjx(task: Task, policy: OnnxPolicy, goals: list[LoggedGoal], *, progress: Progress = lambda _: None) -> Log:
    """The policy in MJX on JAX's default device, from home."""
    return _closed_loop(task, policy, goals, _MjxBody(task, _home(task.contract)), "MJX", progress)


def from_franka(contract: Contract, policy: Path, goals: list[LoggedGoal], *, host: str) -> Log:
    """The policy on the Franka at `host`, served and recorded by the runtime; one goal for each episode's length."""
    period_s = contract.timing.episode_s
    with tempfile.TemporaryDirectory() as folder:
        record, socket = Path(folder) / "run.mcap", Path(folder) / "s"
        server = _runtime(
            "serve",
            "--model",
            str(policy),
            "--robot",
            "franka",
            "--host",
            host,
            "--record",
            str(record),
            "--socket",
            str(socket),
            "--quiet",
        )
        try:
            _wait_for(socket, server)
            for goal in goals:
                _give(contract, goal, socket, timeout_s=period_s + 5.0)
                time.sleep(period_s)
            _call("stop", "--address", str(socket))
            server.wait(_START_S)
        finally:
            if server.poll() is None:
                server.terminate()
                server.wait()
        if not record.is_file():
            raise ShoalError(f"--host: {_said(server)}")
        return read_log(record)


class _MjxBody(Body):
    """MJX, one robot."""

    def __init__(self, task: Task, start: np.ndarray) -> None:
        try:
            import jax
            import jax.numpy as jnp

            from sim2real.backends import xla
            from sim2real.backends.mjx import put_model
            from sim2real.backends.mjx_library import mjx, step
        except ImportError as error:
            raise ShoalError(
                f"--against mjx needs the training extra: pip install 'shoal[train]' ({error})."
            ) from error
        at, substeps = Addresses.of(task.model, task.contract.robot), task.contract.timing.substeps
        model = put_model(task.model)
        fractions = jnp.arange(1, substeps + 1) / substeps

        def advance(data: Any, previous: Any, target: Any) -> Any:
            def one(data: Any, fraction: Any) -> tuple[Any, None]:
                ctrl = data.ctrl.at[at.actuator].set(at.control(previous + (target - previous) * fraction))
                return step(model, data.replace(ctrl=ctrl)), None

            return jax.lax.scan(one, data, fractions)[0]

        self._advance = jax.jit(advance, compiler_options=xla.mjx_compiler_options())
        data = mjx.make_data(task.model, impl="jax").replace(ctrl=jnp.asarray(at.rest_ctrl, jnp.float32))
        qpos = at.rest_qpos.copy()
        at.place(qpos, start)
        self._at, self._data = at, data.replace(qpos=jnp.asarray(qpos, data.qpos.dtype))

    def readings(self) -> tuple[np.ndarray, np.ndarray]:
        position, velocity = self.state()
        return self._at.joint_position(position), self._at.joint_velocity(velocity)

    def state(self) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray(self._data.qpos, np.float64), np.asarray(self._data.qvel, np.float64)

    def advance(self, previous: np.ndarray, target: np.ndarray) -> None:
        self._data = self._advance(self._data, previous, target)


def _closed_loop(
    task: Task,
    policy: OnnxPolicy,
    goals: list[LoggedGoal],
    body: Body,
    source: str,
    progress: Progress = lambda _: None,
) -> Log:
    duration = task.contract.timing.control_dt_s + len(goals) * task.contract.timing.episode_s
    return run_policy(policy, body, task.model, goals, duration, source=source, progress=progress)


def _home(contract: Contract) -> np.ndarray:
    return contract.home_positions


def _runtime(*arguments: str) -> subprocess.Popen[str]:
    command = python_module("runtime.cli", *arguments)
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def _call(*arguments: str) -> None:
    process = _runtime(*arguments)
    if process.wait(_START_S):
        raise ShoalError(f"runtime {arguments[0]}: {_said(process)}")


def _give(contract: Contract, goal: LoggedGoal, socket: Path, *, timeout_s: float) -> None:
    layout = contract.goal.layout(contract)
    values = [f"{name}={','.join(map(repr, goal.request[part]))}" for name, part in layout.slices.items()]
    _call("goal", "--set", *values, "--timeout-s", repr(timeout_s), "--address", str(socket))


def _wait_for(socket: Path, server: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + _START_S
    while not socket.exists():
        if server.poll() is not None:
            raise ShoalError(f"--host: the runtime ended before it served: {_said(server)}")
        if time.monotonic() > deadline:
            raise ShoalError(f"--host: the runtime did not begin to serve within {_START_S:g} s.")
        time.sleep(0.1)


def _said(process: subprocess.Popen[str]) -> str:
    """The last line of what a program complained of."""
    text = process.stderr.read() if process.stderr else ""
    return (text.strip().splitlines() or ["no reason given"])[-1].removeprefix("error: ")
