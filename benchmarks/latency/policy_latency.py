"""Latency of policies in ONNX Runtime against their size: students, shallow and deep teachers, one graph each.

    python -m benchmarks.latency.policy_latency [--task franka_pose] [--quick] [--json PATH]

All graphs go from readings and goal to joint targets, as a deployed policy does, and all sessions are those of the
runtime (one thread, bound inputs). A call of each in turn, once every `--period-ms`, so that caches cool down between
calls as on a robot; and the same back to back. Weights are random: time does not depend on them.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.machine import machine
from export.actor import convert_network, unrolled_actor
from runtime.inference.onnx_session import bound_run, make_session
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.contract import Contract
from sim2real.contract.interface import goal_size, observation_size, policy_inputs
from sim2real.contract.policy_file import command_output, input_sizes
from sim2real.files import write_json
from sim2real.tasks.task import load_task
from student.config import StudentNetworkConfig
from student.network import StudentPolicy
from student.policy import make_policy
from teacher.config import LearnerConfig, NetworkConfig
from teacher.learner import Learner
from teacher.networks import apply, count_parameters


@dataclass(frozen=True)
class Arguments:
    """Measure policies of several sizes."""

    task: str = "franka_pose"
    teachers: tuple[str, ...] = ("4x64", "16x64", "64x64", "256x64", "1024x64", "1024x256")
    """Depth x width of actors as they are trained."""
    students: tuple[str, ...] = ("1x32", "2x32", "2x64", "2x128", "4x64", "4x128")
    """Hidden layers x width."""
    calls: int = 400
    period_ms: float = 20.0
    quick: bool = False
    """Small teachers only, 40 calls."""
    json: JsonFile | None = None
    """Write the rows here too."""


def student_function(contract: Contract, config: StudentNetworkConfig) -> tuple[Any, int]:
    """A student of random weights on network inputs, and its number of parameters."""
    policy = make_policy(contract, config)
    params = policy.init(jax.random.key(0), example_inputs(contract))
    return lambda x: apply(policy, params, x, method=StudentPolicy.action)[0], count_parameters(params)


def actor_function(contract: Contract, network: NetworkConfig) -> tuple[Any, int]:
    """A teacher's actor of random weights on network inputs, and its number of parameters."""
    learner = Learner(contract, network, LearnerConfig(batch_size=8), 1)
    params = jax.jit(learner.init)(jax.random.key(0)).actor
    return lambda x: unrolled_actor(network, params, x), count_parameters(params)


def example_inputs(contract: Contract) -> jax.Array:
    """Network inputs of one state, all zero."""
    observation, goal = (jnp.zeros((1, size(contract))) for size in (observation_size, goal_size))
    return jnp.asarray(policy_inputs(jnp, contract, observation, goal))


class Call:
    """One bound session, callable without arguments."""

    def __init__(self, contract: Contract, path: Path) -> None:
        rng = np.random.default_rng(0)
        self.inputs = {
            name: rng.normal(size=(1, size)).astype(np.float32) for name, size in input_sizes(contract).items()
        }
        session = make_session(path)
        sizes = {
            node.name: len(contract.robot.joints) if node.name == command_output(contract) else 1
            for node in session.get_outputs()
        }
        self.output = {name: np.zeros((1, size), np.float32) for name, size in sizes.items()}
        self._run = bound_run(session, self.inputs, self.output)

    def __call__(self) -> float:
        """Microseconds of one inference."""
        started = time.perf_counter_ns()
        self._run()
        return (time.perf_counter_ns() - started) / 1e3


def paced(calls: dict[str, Call], count: int, period_s: float) -> dict[str, np.ndarray]:
    """Times of every call, interleaved: one round each period, in an order that changes."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    rng, names, deadline = np.random.default_rng(0), list(calls), time.perf_counter()
    for _ in range(count):
        for name in rng.permutation(names):
            deadline = max(deadline + period_s, time.perf_counter())
            time.sleep(max(0.0, deadline - time.perf_counter()))
            times[name].append(calls[name]())
    return {name: np.array(values) for name, values in times.items()}


def make_calls(arguments: Arguments, contract: Contract, folder: Path) -> tuple[dict[str, Call], list[dict[str, Any]]]:
    """Convert every policy; returns the calls and one row of facts for each."""
    calls: dict[str, Call] = {}
    rows: list[dict[str, Any]] = []
    teachers = arguments.teachers[:2] if arguments.quick else arguments.teachers
    for kind, sizes in (("student", arguments.students), ("teacher", teachers)):
        for size in sizes:
            depth, width = (int(part) for part in size.split("x"))
            if kind == "student":
                made = student_function(contract, StudentNetworkConfig(hidden_layers=depth, hidden_width=width))
            else:
                made = actor_function(contract, NetworkConfig(actor_depth=depth, critic_depth=4, width=width))
            name, path = f"{kind} {size}", folder / "policy.onnx"
            onnx.save(convert_network(contract, made[0]), str(path))
            calls[name] = Call(contract, path)
            rows.append({"policy": name, "kind": kind, "depth": depth, "width": width, "parameters": made[1]})
    return calls, rows


def main() -> None:
    """Print the table, write JSON."""
    arguments = tyro.cli(Arguments, description=__doc__)
    contract, count = load_task(arguments.task).contract, 40 if arguments.quick else arguments.calls
    with tempfile.TemporaryDirectory() as folder:
        calls, rows = make_calls(arguments, contract, Path(folder))
    for call in calls.values():
        for _ in range(20):
            call()
    times = paced(calls, count, arguments.period_ms / 1e3)
    table = Table("policy", "parameters", "paced p50, us", "paced p99, us", "hot p50, us", title=contract.task)
    for row in rows:
        hot = np.median([calls[row["policy"]]() for _ in range(count)])
        p50, p99 = np.percentile(times[row["policy"]], [50, 99])
        row |= {"paced_p50_us": float(p50), "paced_p99_us": float(p99), "hot_p50_us": float(hot)}
        table.add_row(row["policy"], f"{row['parameters']:,}", *(f"{x:.1f}" for x in (p50, p99, hot)))
    Console().print(table)
    if arguments.json:
        report = {"machine": machine(), "task": contract.task, "period_ms": arguments.period_ms, "rows": rows}
        write_json(arguments.json, report, indent=1)


if __name__ == "__main__":
    with command_line():
        main()
