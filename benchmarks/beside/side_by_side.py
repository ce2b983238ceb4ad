"""Critic and actor updated by one program or by two side by side, on a CPU, in one run.

    python -m benchmarks.beside.side_by_side [--quick] [--json PATH]

Medians and minima over interleaved calls of one update's time by the clock. Processor time does not depend on what else
the machine does: the critic's program and the actor's are also timed alone, one after the other, and what two idle
cores can gain at most is the time of one program over the longer of both.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.learning.teacher_update import rollout
from benchmarks.machine import write_numbers
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.tasks.task import load_task
from teacher import replay
from teacher.beside.side_by_side import Judged, SideBySide
from teacher.config import LearnerConfig, NetworkConfig
from teacher.learner import Learner


@dataclass(frozen=True)
class Arguments:
    """Time updates in both ways."""

    shapes: tuple[str, ...] = ("4x64", "16x64", "64x64", "16x256")
    """Depth x width."""
    batch_size: int = 256
    updates: int = 10
    """In one timed call."""
    repeats: int = 15
    quick: bool = False
    """4 x 64 alone."""
    json: JsonFile | None = None
    """Write the rows here too."""


def clocks(call: Callable[[], Any]) -> np.ndarray:
    """Milliseconds by the clock and of the processors, `[2]`, of one call."""
    start = np.array([time.perf_counter(), time.process_time()])
    call()
    return np.asarray(1e3 * (np.array([time.perf_counter(), time.process_time()]) - start))


def alone(learner: Learner, side_by_side: SideBySide, buffer: replay.Replay, updates: int) -> np.ndarray:
    """Processor milliseconds of an update of the critic's program and of the actor's, `[2]`, medians."""
    state = learner.init(jax.random.key(0))
    keys, spent = jax.random.split(jax.random.key(1), updates), []
    critic, optimizer = state.critic, state.optimizer[1]
    actor = state._replace(critic=None, optimizer=(state.optimizer[0], None, state.optimizer[2]))
    for number in np.arange(updates, dtype=np.int32):
        before, times = critic, [time.process_time()]
        critic, optimizer, goal_embedding, batch, row = side_by_side._update_critic(
            before, optimizer, buffer, keys, number
        )
        jax.tree.map(np.asarray, (critic, row))
        times.append(time.process_time())
        judged = before, goal_embedding, batch
        actor, row = side_by_side._update_actor(actor, Judged(*judged), keys, number)
        jax.tree.map(np.asarray, (actor.actor, row))
        times.append(time.process_time())
        spent.append(np.diff(times))
    return 1e3 * np.median(spent[1:], axis=0)


def measure(shape: str, arguments: Arguments) -> dict[str, Any]:
    """One row."""
    depth, width = map(int, shape.split("x"))
    contract, updates = load_task("franka_pose").contract, arguments.updates
    network = NetworkConfig(actor_depth=depth, critic_depth=depth, width=width)
    learner = Learner(contract, network, LearnerConfig(batch_size=arguments.batch_size), 10_000)
    data = rollout(contract, 100, 64)
    sizes = {"observation": data.observation.shape[-1], "goal": data.goal.shape[-1], "action": data.action.shape[-1]}
    buffer = replay.insert(replay.create(capacity=100, num_envs=64, **sizes), data)
    side_by_side = SideBySide(learner)
    ways: dict[str, Callable[..., Any]] = {"one": learner.update_many, "two": side_by_side.update_many}
    states = {name: learner.init(jax.random.key(0)) for name in ways}
    times: dict[str, list[np.ndarray]] = {name: [] for name in ways}

    def call(name: str) -> None:
        states[name], metrics = ways[name](states[name], buffer, jax.random.key(1), updates)
        jax.tree.map(np.asarray, metrics)

    for repeat in range(arguments.repeats + 1):
        for name in ways:
            spent = clocks(lambda name=name: call(name)) / updates  # type: ignore[misc]
            if repeat:  # The first compiles.
                times[name].append(spent)
    pairs = zip(jax.tree.leaves(states["one"]), jax.tree.leaves(states["two"]), strict=True)
    row: dict[str, Any] = {"shape": shape, "largest_difference": max(float(abs(a - b).max()) for a, b in pairs)}
    for name, values in times.items():
        (wall, processor), shortest = np.median(values, axis=0), np.min(values, axis=0)[0]
        row |= {f"{name}_ms": wall, f"{name}_shortest_ms": shortest, f"{name}_processor_ms": processor}
    critic, actor = alone(learner, side_by_side, buffer, 2 * updates)
    row |= {"critic_processor_ms": critic, "actor_processor_ms": actor}
    return row | {"gain": row["one_ms"] / row["two_ms"], "bound": row["one_processor_ms"] / max(critic, actor)}


def main() -> None:
    """Print the table, write JSON."""
    arguments = tyro.cli(Arguments, description=__doc__)
    if arguments.quick:
        arguments = Arguments(shapes=("4x64",), repeats=5, json=arguments.json)
    load = os.getloadavg()[0]
    rows = [measure(shape, arguments) for shape in arguments.shapes]
    names = [f"{name}_{kind}ms" for kind in ("", "shortest_", "processor_") for name in ("one", "two")]
    names += ["critic_processor_ms", "actor_processor_ms", "gain", "bound"]
    title = f"one update, batch {arguments.batch_size}, ms; load {load:.1f} on {os.cpu_count()} cores"
    table = Table("depth x width", *(name.removesuffix("_ms").replace("_", " ") for name in names), title=title)
    for row in rows:
        table.add_row(row["shape"], *(f"{row[name]:.2f}" for name in names))
    Console(width=160).print(table)
    write_numbers(arguments.json, {"load": load, "rows": rows})


if __name__ == "__main__":
    with command_line():
        main()
