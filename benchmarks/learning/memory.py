"""Memory of one update against depth, with and without rematerialisation and bfloat16.

    python -m benchmarks.learning.memory [--depths 4 64 1024] [--quick] [--json PATH]

Temporary memory is what XLA's compiler reserves for the compiled update, mostly activations kept for the backward
pass; state is parameters and optimisers, which are donated and so exist once. Peak resident memory is what three
updates, compilation included, add to a fresh process that has only imported JAX.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.learning.teacher_update import rollout
from benchmarks.machine import write_numbers
from sim2real.child_process import python_module
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.contract.interface import goal_size, observation_size
from sim2real.errors import ShoalError
from sim2real.tasks.task import load_task
from teacher import replay
from teacher.config import LearnerConfig, NetworkConfig
from teacher.learner import Learner

_VARIANTS: dict[str, dict[str, Any]] = {
    "float32": {},
    "float32, remat": {"remat": True},
    "bfloat16": {"compute_dtype": "bfloat16"},
    "bfloat16, remat": {"compute_dtype": "bfloat16", "remat": True},
}


@dataclass(frozen=True)
class Arguments:
    """Measure the memory of one update."""

    depths: tuple[int, ...] = (4, 16, 64, 256, 1024)
    width: int = 64
    batch_size: int = 256
    quick: bool = False
    """Depth 4 and 64, compiled only."""
    json: JsonFile | None = None
    """Write the rows here too."""
    child: str = ""
    """Used by the script itself: measure one case in this process."""


def learner_of(depth: int, variant: str, width: int, batch_size: int) -> Learner:
    """A learner for one case."""
    network = NetworkConfig(actor_depth=depth, critic_depth=depth, width=width, **_VARIANTS[variant])
    return Learner(load_task("franka_pose").contract, network, LearnerConfig(batch_size=batch_size), 1000)


def sizes(learner: Learner) -> dict[str, int]:
    """Sizes of the observations, goals and actions that the replay holds."""
    contract = learner.contract
    joints = len(contract.robot.joints)
    return {"observation": observation_size(contract), "goal": goal_size(contract), "action": joints}


def compiled_bytes(learner: Learner) -> dict[str, int]:
    """Temporary memory of the compiled update, and the size of the state."""
    state = jax.eval_shape(learner.init, jax.random.key(0))
    buffer = jax.eval_shape(lambda: replay.create(capacity=200, num_envs=16, **sizes(learner)))
    analysis = Learner.update_many.lower(learner, state, buffer, jax.random.key(0), 1).compile().memory_analysis()
    if analysis is None:
        raise ShoalError("memory: this backend of JAX does not say how much memory a program takes.")
    held = sum(int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    return {"temporary_bytes": int(analysis.temp_size_in_bytes), "state_bytes": held}


def resident_bytes() -> int:
    """Peak resident memory of this process so far.

    Not from `getrusage`, whose maximum a child inherits from the process that started it.
    """
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def child(case: dict[str, Any]) -> None:
    """Print the peak before and after three updates of one case."""
    before = resident_bytes()
    if case["variant"]:
        learner = learner_of(case["depth"], case["variant"], case["width"], case["batch_size"])
        buffer = replay.create(capacity=200, num_envs=16, **sizes(learner))
        buffer = replay.insert(buffer, rollout(learner.contract, 100, 16))
        state = learner.init(jax.random.key(0))
        jax.tree.map(np.asarray, learner.update_many(state, buffer, jax.random.key(1), 3)[1])
    print(resident_bytes() - before)


def resident_of(depth: int, variant: str, arguments: Arguments) -> int:
    """Peak resident memory that a fresh process needs for three updates."""
    case = {"depth": depth, "variant": variant, "width": arguments.width, "batch_size": arguments.batch_size}
    command = python_module("benchmarks.learning.memory", "--child", json.dumps(case))
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def main() -> None:
    """Print the table, write JSON."""
    arguments = tyro.cli(Arguments, description=__doc__)
    if arguments.child:
        child(json.loads(arguments.child))
        return
    rows = []
    for depth in (4, 64) if arguments.quick else arguments.depths:
        for variant in _VARIANTS:
            row: dict[str, Any] = {"depth": depth, "variant": variant}
            row |= compiled_bytes(learner_of(depth, variant, arguments.width, arguments.batch_size))
            if not arguments.quick:
                row["resident_bytes"] = resident_of(depth, variant, arguments)
            rows.append(row)
    names = ("temporary_bytes", "state_bytes", "resident_bytes")
    title = f"one update, width {arguments.width}, batch {arguments.batch_size}, MiB"
    table = Table("depth", "variant", "temporary", "state", "peak resident", title=title)
    for row in rows:
        shown = [f"{row[name] / 2**20:.1f}" if name in row else "not measured" for name in names]
        table.add_row(str(row["depth"]), row["variant"], *shown)
    Console().print(table)
    write_numbers(arguments.json, {"rows": rows})


if __name__ == "__main__":
    with command_line():
        main()
