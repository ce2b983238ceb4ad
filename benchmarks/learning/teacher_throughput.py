"""Environment steps per second of both backends, and where the time of a training goes.

    python -m benchmarks.learning.teacher_throughput [--quick] [--json PATH]

Control steps (of 20 physics steps each, on the Franka tasks) per second of all environments together, under a policy
that acts at random, against the number of environments; then a short training, whose rounds are split into collecting
and updating, and its updates into sampling and the rest.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.machine import machine
from sim2real.backends import make_environment
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.files import write_json
from sim2real.tasks.task import load_task
from teacher.config import NetworkConfig, TeacherConfig
from teacher.run.folder import RunFolder
from teacher.train import Trainer


@dataclass(frozen=True)
class Arguments:
    """Measure collecting and training."""

    task: str = "franka_pose"
    native_envs: tuple[int, ...] = (1, 16, 64, 256, 1024)
    mjx_envs: tuple[int, ...] = ()
    """16 and 128 on a CPU, 256 to 8192 on an accelerator by default."""
    steps: int = 50
    """Control steps of one timed rollout."""
    repeats: int = 5
    depth: int = 16
    """Of the trained networks."""
    quick: bool = False
    """16 native environments and a tiny training; MJX is left to the full run, because it takes a minute to compile."""
    json: JsonFile | None = None
    """Write the rows here too."""


def random_policy(params: Any, observation: jax.Array, goal: jax.Array, key: jax.Array) -> jax.Array:
    """Uniform actions."""
    return jax.random.uniform(key, (observation.shape[0], params), minval=-1.0, maxval=1.0)


def collecting(task_name: str, backend: Any, envs: int, steps: int, repeats: int) -> float:
    """Control steps per second."""
    env = make_environment(load_task(task_name), backend, num_envs=envs, seed=0)
    joints = len(env.contract.robot.joints)

    def act(params: Any, observation: jax.Array, goal: jax.Array, key: jax.Array) -> jax.Array:
        return random_policy(joints, observation, goal, key)

    def call() -> None:
        jax.tree.map(np.asarray, env.rollout(act, None, jax.random.key(0), steps))

    call()
    return envs * steps / _median_seconds(call, repeats)


def training(task_name: str, depth: int, rounds: int, updates_per_rollout: int, repeats: int) -> dict[str, float]:
    """Seconds of a round in collecting, sampling and the rest of the updates, medians without the first round."""
    config = TeacherConfig(
        task=task_name,
        backend="auto",
        updates=rounds * updates_per_rollout,
        updates_per_rollout=updates_per_rollout,
        eval_every_rounds=1000,
        eval_envs=16,
        checkpoint_every_rounds=1000,
        network=NetworkConfig(actor_depth=depth, critic_depth=depth),
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = RunFolder(Path(scratch) / "run")
        trainer = Trainer(config, folder)
        trainer.train()
        rows = folder.read_metrics()[1:]
    sample = jax.jit(lambda buffer, key: trainer.learner.sample(buffer, key))

    def call() -> None:
        for number in range(updates_per_rollout):
            batch = sample(trainer.replay, jax.random.key(number))
        jax.tree.map(np.asarray, batch)

    call()
    collect, update = (float(np.median([row[name] for row in rows])) for name in ("collect_s", "update_s"))
    sampling = _median_seconds(call, repeats)
    return {"collect_s": collect, "sample_s": sampling, "update_s": update - sampling}


def _median_seconds(call: Callable[[], None], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def main() -> None:
    """Print both tables, write JSON."""
    arguments = tyro.cli(Arguments, description=__doc__)
    on_cpu = jax.default_backend() == "cpu"
    counts: dict[str, tuple[int, ...]] = {
        "native": arguments.native_envs,
        "mjx": arguments.mjx_envs or ((16, 128) if on_cpu else (256, 1024, 4096, 8192)),
    }
    rounds, updates, repeats = 4, 300, arguments.repeats
    if arguments.quick:
        counts, rounds, updates, repeats = {"native": (16,)}, 3, 20, 3
    rows = [
        {
            "backend": backend,
            "envs": envs,
            "steps_per_s": collecting(arguments.task, backend, envs, arguments.steps, repeats),
        }
        for backend, numbers in counts.items()
        for envs in numbers
    ]
    table = Table(
        "backend", "environments", "control steps/s", title=f"{arguments.task}, {jax.devices()[0].device_kind}"
    )
    for row in rows:
        table.add_row(str(row["backend"]), str(row["envs"]), f"{row['steps_per_s']:,.0f}")
    parts = training(arguments.task, 4 if arguments.quick else arguments.depth, rounds, updates, repeats)
    total = sum(parts.values())
    shares = Table("part of a round", "s", "share", title=f"{updates} updates after each rollout of 100 steps")
    for name, seconds in parts.items():
        shares.add_row(name.removesuffix("_s"), f"{seconds:.2f}", f"{seconds / total:.0%}")
    for each in (table, shares):
        Console().print(each)
    if arguments.json:
        device = jax.devices()[0].device_kind
        report = {"machine": machine(), "device": device, "collecting": rows, "round": parts, "updates": updates}
        write_json(arguments.json, report)


if __name__ == "__main__":
    with command_line():
        main()
