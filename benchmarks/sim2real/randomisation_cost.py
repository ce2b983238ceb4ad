"""What randomisation costs: control steps per second with it off, mild and hard, in one run.

    python -m benchmarks.sim2real.randomisation_cost [--backends native mjx] [--quick] [--json PATH]

Control steps (of 20 physics steps each, on the Franka tasks) per second of all environments together, under a policy
that acts at random. `model` has only robots that differ (model fields per environment); `signals` only what happens to
readings and commands; both with the ranges of `hard`. The ratio to `off` is what to quote.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.machine import write_numbers
from sim2real.backends import make_environment
from sim2real.backends.base import ApplyPolicy, Environment
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.randomisation.config import TERMS, Randomisation, load_randomisation
from sim2real.tasks.task import load_task

_FIRST_SIGNAL = "joint_offset_rad"
"""In the order of `Randomisation`, terms before this one change fields of the model."""


@dataclass(frozen=True)
class Arguments:
    """Measure collecting with and without randomisation."""

    task: str = "franka_reach"
    backends: tuple[Literal["native", "mjx"], ...] = ("native",)
    """MJX takes a minute to compile for each setting on a CPU."""
    envs: int = 256
    steps: int = 50
    """Control steps of one timed rollout."""
    repeats: int = 5
    """The median of so many rollouts counts."""
    quick: bool = False
    """16 environments, 10 steps, 3 repeats."""
    json: JsonFile | None = None
    """Write the rows here too."""


def settings() -> dict[str, Randomisation]:
    """What is compared, by name."""
    hard, names = load_randomisation("hard"), list(TERMS)
    border = names.index(_FIRST_SIGNAL)
    parts = {"model": set(names[:border]), "signals": set(names[border:])}
    halves = {part: Randomisation.model_validate(hard.model_dump(include=terms)) for part, terms in parts.items()}
    return {"off": load_randomisation("off"), "mild": load_randomisation("mild"), "hard": hard} | halves


def measure(arguments: Arguments, backend: Literal["native", "mjx"]) -> list[dict[str, Any]]:
    """One row for each setting; rollouts are interleaved, so that a machine that gets slower slows all alike."""
    task = load_task(arguments.task)
    joints = len(task.contract.robot.joints)
    calls: dict[str, Callable[[], None]] = {}
    made: dict[str, float] = {}

    def act(params: Any, observation: jax.Array, goal: jax.Array, key: jax.Array) -> jax.Array:
        return jax.random.uniform(key, (observation.shape[0], joints), minval=-1.0, maxval=1.0)

    for name, setting in settings().items():
        started = time.perf_counter()
        env = make_environment(task, backend, num_envs=arguments.envs, seed=0, randomisation=setting)
        calls[name] = partial(_roll_out, env, act, arguments.steps)
        calls[name]()
        made[name] = time.perf_counter() - started
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(arguments.repeats):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - started)
    rates = {name: arguments.envs * arguments.steps / float(np.median(values)) for name, values in times.items()}
    return [
        {
            "backend": backend,
            "envs": arguments.envs,
            "randomisation": name,
            "control_steps_per_s": rate,
            "share_of_off": rate / rates["off"],
            "first_rollout_s": made[name],
        }
        for name, rate in rates.items()
    ]


def _roll_out(env: Environment, act: ApplyPolicy, steps: int) -> None:
    jax.tree.map(np.asarray, env.rollout(act, None, jax.random.key(0), steps))


def main() -> None:
    """Print the table, write JSON."""
    arguments = tyro.cli(Arguments)
    if arguments.quick:
        fewer = {"envs": 16, "steps": 10, "repeats": 3}
        arguments = Arguments(**{**arguments.__dict__, **fewer})
    rows = [row for backend in arguments.backends for row in measure(arguments, backend)]
    title = f"{arguments.task}, {arguments.envs} environments"
    table = Table("backend", "randomisation", "control steps/s", "share of off", "until first rollout, s", title=title)
    for row in rows:
        numbers = (f"{row['control_steps_per_s']:.0f}", f"{row['share_of_off']:.2f}", f"{row['first_rollout_s']:.1f}")
        table.add_row(row["backend"], row["randomisation"], *numbers)
    Console().print(table)
    write_numbers(arguments.json, {"rows": rows})


if __name__ == "__main__":
    with command_line():
        main()
