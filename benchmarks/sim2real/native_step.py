"""What the native environment costs beside the physics itself: readings, goals, commands, terminations, restarts.

    python -m benchmarks.sim2real.native_step [--tasks franka_push ant] [--envs 64] [--quick] [--json PATH]

CPU time of one control step of all environments together, on one thread: of `NativeEnvironment.rollout_with`, and of
`mujoco.batch` alone from the same states under the same targets. Blocks of both take turns, so that a machine that gets
slower slows both; the median block counts. CPU time does not count what other processes take.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import mujoco
import mujoco.batch
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.machine import write_numbers
from sim2real.backends.native import NativeEnvironment
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.contract.interface import action_size
from sim2real.robots.kinematics import Addresses
from sim2real.tasks.goal_pool import sample_goal_pool
from sim2real.tasks.task import load_task


@dataclass(frozen=True)
class Arguments:
    """Measure the environment against bare physics."""

    tasks: tuple[str, ...] = ("franka_reach", "franka_push", "ant", "quadruped_walk")
    envs: int = 64
    steps: int = 20
    """Control steps of one block."""
    blocks: int = 15
    quick: bool = False
    """One task, 16 environments, 5 steps, 3 blocks."""
    json: JsonFile | None = None
    """Write the rows here too."""


def measure(name: str, *, envs: int, steps: int, blocks: int) -> dict[str, Any]:
    """One row."""
    task = load_task(name)
    env = NativeEnvironment(task, num_envs=envs, seed=0, pool=sample_goal_pool(task, size=500, seed=0), threads=1)
    bare = mujoco.batch.Batch(task.model, nsim=envs, nthread=1)
    addresses, timing = Addresses.of(task.model, task.contract.robot), task.contract.timing
    actions = np.random.default_rng(0).uniform(-1, 1, (steps, envs, action_size(task.contract))).astype(np.float32)
    times: dict[str, list[float]] = {"environment": [], "physics": []}
    env.rollout_with(lambda observation, goal: actions[0], 2)
    for _ in range(blocks + 1):
        begun = env.state_dict()
        controls = _controls(env, actions, addresses, timing.substeps)
        env.load_state_dict(begun)
        turn = iter(actions)
        started = time.process_time()
        env.rollout_with(lambda observation, goal, turn=turn: next(turn), steps)  # type: ignore[misc]
        times["environment"].append(time.process_time() - started)
        bare.bind("qpos")[:], bare.bind("qvel")[:] = begun["qpos"], begun["qvel"]
        bare.bind("qacc_warmstart")[:] = begun["qacc_warmstart"]
        started = time.process_time()
        for control in controls:
            bare.rollout(timing.substeps, control, control_spec=int(mujoco.mjtState.mjSTATE_CTRL))
        times["physics"].append(time.process_time() - started)
    # The first block warms up.
    whole, physics = (1e3 * float(np.median(values[1:])) / steps for values in times.values())
    return {
        "task": name,
        "envs": envs,
        "substeps": timing.substeps,
        "environment_ms": whole,
        "physics_ms": physics,
        "overhead": whole / physics - 1,
    }


def _controls(env: NativeEnvironment, actions: np.ndarray, addresses: Addresses, substeps: int) -> list[np.ndarray]:
    """What stands in `ctrl` in every physics step of a block, `[N, S, nu]` for each control step."""
    found, reading = [], env.contract.action.previous
    fractions = ((np.arange(substeps) + 1) / substeps)[:, None]
    for action in actions:
        before = env.true_readings()[reading].copy()
        env.rollout_with(lambda observation, goal, action=action: action, 1)  # type: ignore[misc]
        moves = before[:, None] + (env.true_readings()[reading] - before)[:, None] * fractions
        control = np.tile(addresses.rest_ctrl, (len(before), substeps, 1))
        control[:, :, addresses.actuator] = addresses.control(moves)
        found.append(control)
    return found


def main() -> None:
    """Print the table, write JSON."""
    arguments = tyro.cli(Arguments)
    sizes = {"envs": arguments.envs, "steps": arguments.steps, "blocks": arguments.blocks}
    tasks = arguments.tasks
    if arguments.quick:
        sizes, tasks = {"envs": 16, "steps": 5, "blocks": 3}, tasks[:1]
    rows = [measure(name, **sizes) for name in tasks]
    table = Table("task", "environments", "control step, ms", "physics alone, ms", "overhead", title="CPU time")
    for row in rows:
        numbers = (f"{row['environment_ms']:.2f}", f"{row['physics_ms']:.2f}", f"{row['overhead']:.0%}")
        table.add_row(row["task"], str(row["envs"]), *numbers)
    Console().print(table)
    write_numbers(arguments.json, {"rows": rows})


if __name__ == "__main__":
    with command_line():
        main()
