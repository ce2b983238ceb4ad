"""The certificate: how far the ONNX file is from the policy that was trained, measured before it is written."""

from __future__ import annotations

import os
import platform
import time
from importlib import metadata
from typing import Any

import jax
import numpy as np
import onnx

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # the wheels send telemetry otherwise
import onnxruntime

from export.graph import graph_inputs, physical_function
from sim2real.backends.native import NativeEnvironment
from sim2real.contract import Contract
from sim2real.contract.interface import command, goal_vector, observation_size, observe, request_size
from sim2real.contract.policy_file import HISTORY_INPUT, Certificate
from sim2real.errors import ShoalError
from sim2real.tasks.goal_pool import EVALUATION_SEED_OFFSET
from student.history import empty, remember
from student.policy import greedy
from student.run import Student

MAX_ERROR = 1e-5
_GOLDEN = 8
_ENVS = 64
Inputs = dict[str, np.ndarray]


def certify(student: Student, model: onnx.ModelProto, *, samples: int = 10_000, seed: int = 0) -> Certificate:
    """Compare JAX and ONNX Runtime on `samples` inputs, half on-policy and half at the edges of every range.

    Raises `ShoalError` when any output differs by more than 1e-5 (rad for commands).
    """
    inputs = _concatenate(
        on_policy_inputs(student, samples // 2, seed), extreme_student_inputs(student, samples - samples // 2, seed)
    )
    session = make_session(model)
    trained = jax.jit(physical_function(student))(*inputs.values())
    exported = session.run(None, inputs)
    errors = [np.abs(np.asarray(a) - b).max(axis=1) for a, b in zip(trained, exported, strict=True)]
    error = np.max(errors, axis=0)
    if not error.max() <= MAX_ERROR:
        worst = int(np.nanargmax(np.where(np.isnan(error), np.inf, error)))
        raise ShoalError(
            f"export: ONNX Runtime and JAX differ by {error[worst]:.2e} on input {worst}, more than {MAX_ERROR:.0e}; "
            "no file was written. Distil again, or report this student."
        )
    golden = np.linspace(0, samples - 1, _GOLDEN).astype(int)
    ticks = tick_times(session, {name: value[:1] for name, value in inputs.items()})
    return Certificate(
        contract_sha256=student.contract.digest,
        sealed=True,
        samples=samples,
        max_abs_error=float(error.max()),
        p99_abs_error=float(np.percentile(error, 99)),
        opset=opset_of(model),
        nodes=len(model.graph.node),
        parameters=sum(leaf.size for leaf in jax.tree.leaves(student.params.policy)),
        tick_us_p50=float(np.percentile(ticks, 50)),
        tick_us_p99=float(np.percentile(ticks, 99)),
        machine=f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        versions=versions(),
        golden_inputs={name: value[golden].astype(float).tolist() for name, value in inputs.items()},
        golden_outputs={
            output.name: np.asarray(value)[golden].astype(float).tolist()
            for output, value in zip(session.get_outputs(), trained, strict=True)
        },
    )


def opset_of(model: onnx.ModelProto) -> int:
    """Opset of the default domain."""
    return int(next(item.version for item in model.opset_import if item.domain in ("", "ai.onnx")))


def versions() -> dict[str, str]:
    """Versions of what made the file."""
    names = ("shoal", "jax", "flax", "mujoco", "onnx", "onnxruntime", "jax2onnx")
    return {name: metadata.version(name) for name in names}


def make_session(model: onnx.ModelProto) -> Any:
    """A single-threaded CPU session, as the runtime uses."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def on_policy_inputs(student: Student, count: int, seed: int) -> Inputs:
    """Readings and goals that the student itself meets, `[count, size]` by name."""
    contract = student.contract
    env = NativeEnvironment(student.task, num_envs=_ENVS, seed=seed + EVALUATION_SEED_OFFSET)
    act = jax.jit(greedy(contract, student.policy))
    steps = student.config.student.history_steps
    history = empty(contract, steps, _ENVS)
    parts: list[Inputs] = []
    while len(parts) * _ENVS < count:
        readings = env.readings()
        request = env.goals()
        named = readings | contract.goal.layout(contract).split(request) | {HISTORY_INPUT: history}
        parts.append({name: named[name].copy() for name in graph_inputs(student)})
        goal = goal_vector(np, contract, request)
        observation = observe(np, contract, readings)
        seen = np.concatenate([observation, history], axis=1) if steps else observation
        action = np.asarray(act(student.params.policy, seen, goal, None))
        history = np.asarray(remember(contract, steps, observation, history)) if steps else history
        if env.advance(command(np, contract, action, readings)).any():
            env.reset()
            history = empty(contract, steps, _ENVS)
    return {name: value[:count] for name, value in _concatenate(*parts).items()}


def extreme_student_inputs(student: Student, count: int, seed: int) -> Inputs:
    """`extreme_inputs`, and for a student that remembers histories of every length, full of what it can't have seen."""
    inputs, steps = extreme_inputs(student.contract, count, seed), student.config.student.history_steps
    if steps:
        rng, size = np.random.default_rng(seed + 1), observation_size(student.contract)
        rows = np.concatenate([rng.uniform(-2, 2, (count, steps, size)), np.ones((count, steps, 1))], axis=-1)
        seen = np.arange(steps) < rng.integers(0, steps + 1, (count, 1))
        inputs[HISTORY_INPUT] = (rows * seen[..., None]).reshape(count, -1).astype(np.float32)
    return inputs


def extreme_inputs(contract: Contract, count: int, seed: int) -> Inputs:
    """Inputs over the whole of every range and a little beyond, a third of them exactly at a limit.

    Targets are never farther from positions than the policy itself could have put them twice over.
    """
    rng = np.random.default_rng(seed)
    drawn = {reading.name: reading.sample(rng, contract, count) for reading in contract.readings}
    action = contract.action
    drawn[action.previous] = action.sample_previous(rng, contract, drawn[action.measured])
    uniform, normal = (draw(size=(count, request_size(contract))) for draw in (rng.random, rng.normal))
    request = contract.goal.between(np, contract, uniform, normal, grown=1.0)
    drawn |= contract.goal.layout(contract).split(request)
    return {name: np.asarray(value, np.float32) for name, value in drawn.items()}


def _concatenate(*parts: Inputs) -> Inputs:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def tick_times(session: Any, inputs: Inputs, *, calls: int = 2000) -> np.ndarray:
    """Microseconds of `calls` calls with batch 1, after warming up."""
    for _ in range(100):
        session.run(None, inputs)
    times = np.empty(calls)
    for index in range(times.size):
        start = time.perf_counter_ns()
        session.run(None, inputs)
        times[index] = (time.perf_counter_ns() - start) / 1e3
    return times
