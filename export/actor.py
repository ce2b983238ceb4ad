"""Teachers' actors as ONNX graphs, to put their tick times beside those of their students. Such a graph is no policy
file: it carries no contract and the runtime refuses it.

    python -m export.actor --teachers runs/teacher --students runs/student/student.onnx

prints one JSON list, a row for each in the order given: {"tick_us_p50": ..., "tick_us_p99": ...}. All are timed in
turn, so that what else the machine does hits them alike.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import tyro
from jax2onnx import to_onnx

from export.certificate import make_session, tick_times
from export.graph import OPSET
from sim2real.console import command_line
from sim2real.contract import Contract
from sim2real.contract.interface import command, observe, policy_inputs
from sim2real.contract.policy_file import command_output, input_sizes
from teacher.config import NetworkConfig
from teacher.networks import apply
from teacher.objectives.base import network_trunk
from teacher.trained import load_teacher

_TURNS, _CALLS = 20, 100


def unrolled_actor(network: NetworkConfig, params: Any, x: jax.Array) -> jax.Array:
    """Tanh of the actor's mean, `[B, I]` to `[B, K J]`, with blocks written out: a scan would become a loop in ONNX."""
    trunk = dataclasses.replace(network_trunk(network, network.actor_depth), unrolled=True)
    heads = params["params"]
    features = apply(trunk, {"params": heads["trunk"]}, x)
    return jnp.tanh(features @ heads["mean"]["kernel"] + heads["mean"]["bias"])


def convert_network(contract: Contract, network: Callable[[jax.Array], jax.Array]) -> onnx.ModelProto:
    """Readings and goal to joint targets through any function from network inputs `[B, I]` to actions `[B, J]`."""
    names = list(input_sizes(contract))

    def function(*values: jax.Array) -> jax.Array:
        inputs = dict(zip(names, values, strict=True))
        observation = observe(jnp, contract, inputs)
        goal = contract.goal.vector_of(jnp, contract, inputs)
        action = network(policy_inputs(jnp, contract, observation, goal))
        return jnp.asarray(command(jnp, contract, action, inputs))

    model: onnx.ModelProto = to_onnx(
        function,
        inputs=[("batch", size) for size in input_sizes(contract).values()],
        opset=OPSET,
        input_names=names,
        output_names=[command_output(contract)],
        normalization_mode="prefer_native",
    )
    return model


def convert_actor(run: Path) -> onnx.ModelProto:
    """The actor of a teacher's run."""
    teacher = load_teacher(run)
    weights = jax.tree.map(jnp.asarray, teacher.actor)
    joints = teacher.networks.joints
    return convert_network(teacher.contract, lambda x: unrolled_actor(teacher.config.network, weights, x)[:, :joints])


def measure(models: list[onnx.ModelProto]) -> list[dict[str, float]]:
    """Tick times in ONNX Runtime on this machine, one row for each model."""
    sessions = [make_session(model) for model in models]
    blank = [
        {node.name: np.zeros((1, node.shape[1]), np.float32) for node in session.get_inputs()} for session in sessions
    ]
    ticks = [
        [tick_times(session, inputs, calls=_CALLS) for session, inputs in zip(sessions, blank, strict=True)]
        for _ in range(_TURNS)
    ]
    found = [np.concatenate(columns) for columns in zip(*ticks, strict=True)]
    return [
        {"tick_us_p50": float(np.percentile(times, 50)), "tick_us_p99": float(np.percentile(times, 99))}
        for times in found
    ]


@dataclass(frozen=True)
class Arguments:
    """Time policies in ONNX Runtime."""

    teachers: tuple[Path, ...] = ()
    """Folders of teachers' runs."""
    students: tuple[Path, ...] = ()
    """Policy files."""


def main() -> None:
    """Print the measurements, teachers first."""
    arguments = tyro.cli(Arguments)
    with command_line():
        models = [convert_actor(run) for run in arguments.teachers] + [onnx.load(str(f)) for f in arguments.students]
        print(json.dumps(measure(models)))


if __name__ == "__main__":
    main()
