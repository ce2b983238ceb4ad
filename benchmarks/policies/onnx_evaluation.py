"""How well an exported policy file moves the arm: physical readings in, joint targets out, nothing else.

    python -m benchmarks.policies.onnx_evaluation models/franka_pose.onnx --episodes 512 [--quick] [--json PATH]

The file runs in ONNX Runtime against native MuJoCo, as on a robot, on starts and goals of a seed that neither
training nor its evaluations use. Exit status 1 below `--min-coarse` or `--min-fine`.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.machine import machine
from runtime.inference.policy import Policy
from sim2real.backends.base import Rollout
from sim2real.backends.native import NativeEnvironment
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.contract import require_same_interface
from sim2real.contract.interface import achieved, goal_vector, observe
from sim2real.contract.policy_file import (
    HISTORY_INPUT,
    HISTORY_OUTPUT,
    command_output,
    input_sizes,
)
from sim2real.errors import ShoalError
from sim2real.evaluation.success import EpisodeErrors, Score, episode_errors, score
from sim2real.files import write_json
from sim2real.randomisation.config import Randomisation
from sim2real.randomised_robots.robots import sample_robots
from sim2real.tasks.goal_pool import sample_goal_pool
from sim2real.tasks.task import Task, load_task

HELD_OUT_SEED = 7_000_003
"""Far from the seeds of training (from 0 up) and of the evaluations during training (from 1,000,003 up)."""


class Goals(NamedTuple):
    """Goals of the evaluated episodes."""

    request: np.ndarray
    """`[N, K]`, as of `sim2real.terms.goal`."""

    @property
    def position(self) -> np.ndarray:
        """`[N, 3]` m, of goals that begin with a place."""
        return self.request[:, :3]


def held_out_environment(
    task: Task, episodes: int, seed: int, *, randomisation: Randomisation | None = None
) -> NativeEnvironment:
    """Arms at the start of their first episode, no start or goal twice; equal seeds give equal ones. With a
    randomisation each is a robot of its own.
    """
    pool = sample_goal_pool(task, size=2 * episodes, seed=seed)
    drawn = (
        None if randomisation is None else sample_robots(randomisation, task, num_envs=episodes, seed=seed, keep=True)
    )
    env = NativeEnvironment(task, num_envs=episodes, seed=seed, pool=pool, draws=drawn, keep_robots=True)
    env.place(np.arange(episodes), pool.start[:episodes], pool.goal[episodes:])
    return env


def evaluate_onnx(
    path: Path, episodes: int, seed: int, *, task: Task | None = None
) -> tuple[Score, EpisodeErrors, Goals]:
    """One episode of every arm under the file's own commands. `task` is looked up by the contract's name."""
    policy = Policy(path)
    contract = policy.contract
    task = task or load_task(contract.task)
    require_same_interface(contract, task.contract, left_name=path.name, right_name="the task today")
    return evaluate_commands(task, commands_of(policy, episodes), episodes, seed)


Targets = Callable[[dict[str, np.ndarray], np.ndarray], np.ndarray]
"""`targets(readings, request [N, K]) -> command [N, J]`, as `Action.command` of the contract."""


def policy_targets(path: Path, *, rows: int) -> tuple[Task, Targets]:
    """The task of a policy file, and the file's own commands for `rows` arms."""
    policy = Policy(path)
    contract = policy.contract
    task = load_task(contract.task)
    require_same_interface(contract, task.contract, left_name=path.name, right_name="the task today")
    infer, layout = commands_of(policy, rows), contract.goal.layout(contract)

    def targets(readings: dict[str, np.ndarray], request: np.ndarray) -> np.ndarray:
        named = readings | layout.split(request)
        return infer({name: named[name] for name in input_sizes(contract)})

    return task, targets


def commands_of(policy: Policy, episodes: int) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    """The file's joint targets as a function of readings and goals, for one episode: what the policy remembers of the
    steps before goes round with it.
    """
    history = {HISTORY_INPUT: np.zeros((episodes, policy.history.size), np.float32)} if policy.history.size else {}

    def infer(inputs: dict[str, np.ndarray]) -> np.ndarray:
        outputs = policy.infer(inputs | history)
        if history:
            history[HISTORY_INPUT] = outputs[HISTORY_OUTPUT]
        return outputs[command_output(policy.contract)]

    return infer


def evaluate_commands(
    task: Task, infer: Callable[[dict[str, np.ndarray]], np.ndarray], episodes: int, seed: int
) -> tuple[Score, EpisodeErrors, Goals]:
    """One episode of every arm under joint targets `[N, J]` rad that `infer` makes of a policy file's inputs."""
    env = held_out_environment(task, episodes, seed)
    request = env.goals().copy()
    rollout = run_episode(env, infer)
    contract = task.contract
    return score(contract, rollout), episode_errors(contract, rollout), Goals(request)


def run_episode(env: NativeEnvironment, infer: Callable[[dict[str, np.ndarray]], np.ndarray]) -> Rollout:
    """The episode that every arm has just begun, under joint targets `[N, J]` rad that `infer` makes of a policy
    file's inputs.
    """
    contract = env.contract
    request = env.goals().copy()
    goal = goal_vector(np, contract, request)
    scale = np.array(contract.action.step_max, np.float32)
    columns: tuple[list[np.ndarray], ...] = ([], [], [], [], [], [])
    for _ in range(contract.timing.episode_steps):
        readings = {name: value.copy() for name, value in env.readings().items()}
        named = readings | contract.goal.layout(contract).split(request)
        target = infer({name: named[name] for name in input_sizes(contract)})
        last = env.advance(target)
        done = achieved(np, contract, readings).astype(np.float32)
        action = (target - readings["joint_position_target"]) / scale
        row = (observe(np, contract, readings).astype(np.float32), done, goal, action, last, env.terminated)
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    return Rollout(*(np.stack(column) for column in columns))


@dataclass(frozen=True)
class Arguments:
    """Evaluate policy files on held-out goals in native MuJoCo."""

    files: tyro.conf.Positional[tuple[Path, ...]]
    episodes: int = 512
    seed: int = 0
    quick: bool = False
    """64 episodes."""
    min_coarse: float = 0.0
    """Exit status 1 when a file reaches a smaller share of goals within the coarse tolerance."""
    min_fine: float = 0.0
    """The same for the fine tolerance."""
    json: JsonFile | None = None
    """Write the rows here too."""


def main() -> None:
    """Print the table, write JSON, compare with the thresholds."""
    arguments = tyro.cli(Arguments, description=__doc__)
    good = _evaluate_all(arguments)
    raise SystemExit(0 if good else 1)


def _evaluate_all(arguments: Arguments) -> bool:
    if not arguments.files:
        raise ShoalError("onnx_evaluation: name at least one policy file.")
    episodes = 64 if arguments.quick else arguments.episodes
    scores = {str(path): evaluate_onnx(path, episodes, HELD_OUT_SEED + arguments.seed)[0] for path in arguments.files}
    table = Table(
        "file", "coarse", "fine", "time at goal", "distance, mm", "angle, °", title=f"{episodes} held-out goals"
    )
    for name, result in scores.items():
        shares = (result.success_coarse, result.success_fine, result.time_at_goal)
        errors = (f"{1e3 * result.position_error_m:.1f}", f"{result.angle_error_deg:.1f}")
        table.add_row(name, *(f"{share:.1%}" for share in shares), *errors)
    Console().print(table)
    if arguments.json:
        rows = [{"file": name} | dataclasses.asdict(result) for name, result in scores.items()]
        report = {"machine": machine(), "seed": arguments.seed, "episodes": episodes, "rows": rows}
        write_json(arguments.json, report)
    below = [
        f"{name}: coarse {result.success_coarse:.1%}, fine {result.success_fine:.1%}"
        for name, result in scores.items()
        if result.success_coarse < arguments.min_coarse or result.success_fine < arguments.min_fine
    ]
    if below:
        limits = f"coarse {arguments.min_coarse:.1%}, fine {arguments.min_fine:.1%}"
        print(f"error: below the thresholds ({limits}): {'; '.join(below)}", file=sys.stderr)
    return not below


if __name__ == "__main__":
    with command_line():
        main()
