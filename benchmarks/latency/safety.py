"""What the safety layer costs: goals reached one after another under several settings, and time in a tick.

    python -m benchmarks.latency.safety models/franka_pose.onnx models/franka_reach.onnx [--quick] [--json PATH]

Every sequence is one simulated arm from home that is sent 25 goals through the runtime's own core, as
`benchmarks.policies.goal_sequences` does without it; equal seeds give equal goals under every setting. Times are hot,
of one call after the other on random believable readings.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.machine import write_numbers
from runtime.control.policy_controller import PolicyController
from runtime.drivers.base import DriverOptions
from runtime.drivers.mujoco import MujocoDriver
from runtime.goals.messages import GoalPose
from runtime.goals.resolve import validate_goal
from runtime.inference.policy import Policy
from runtime.robot.model import find_model
from runtime.robot.readings import Readings
from runtime.safety import Safety, SafetyConfig
from runtime.safety.geometry import geometry_checker_for
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.contract import Contract
from sim2real.errors import ShoalError
from sim2real.tasks.goal_pool import sample_goal_pool
from sim2real.tasks.task import load_task

SEQUENCE_SEED = 8_000_009
"""As `benchmarks.policies.goal_sequences`."""


class Setting(NamedTuple):
    """One row of the table."""

    name: str
    config: SafetyConfig
    geometry: bool = True


OFF = SafetyConfig(
    ramp_in_s=0,
    frozen_after_periods=None,
    clock_jump_s=None,
    effort_share=None,
    tracking_max_rad=None,
    hold_to_damp_s=None,
)
SETTINGS = (
    Setting("position and velocity only", OFF, geometry=False),
    Setting("defaults", SafetyConfig()),
    Setting("20 rad/s2", SafetyConfig(acceleration_max_rad_s2=20.0)),
    Setting("10 rad/s2", SafetyConfig(acceleration_max_rad_s2=10.0)),
    Setting("half the speed", SafetyConfig(velocity_share=0.5)),
    Setting("links 2 cm apart", SafetyConfig(self_collision_m=0.02)),
)


@dataclass(frozen=True)
class Arguments:
    """Send goals one after another under several safety settings, and time the layer's parts."""

    files: tyro.conf.Positional[tuple[Path, ...]]
    sequences: int = 16
    goals: int = 25
    timeout_s: float = 5.0
    quick: bool = False
    """2 sequences of 5 goals."""
    json: JsonFile | None = None
    """Write the rows here too."""


def run_sequence(core: PolicyController, goals: list[GoalPose], timeout_s: float) -> int:
    """How many of the goals a fresh simulated robot reaches, one after the other."""
    contract = core.contract
    driver = MujocoDriver(contract, DriverOptions(speed=0))
    readings, command, reached = Readings.of(contract), np.zeros(len(contract.joint_names)), 0
    for number, goal in enumerate(goals, start=1):
        started_s = driver.now_s()
        core.set_goal(validate_goal(contract, goal, time.time()), number=number, now_s=started_s)
        while driver.now_s() - started_s < timeout_s and not core.reached:
            driver.read(readings)
            if core.step(readings, driver.now_s(), command):
                driver.write(command)
        reached += core.reached
    return reached


def goal_lists(contract: Contract, sequences: int, goals: int) -> Iterator[list[GoalPose]]:
    """Reachable goals, other ones for every sequence."""
    task, pose = load_task(contract.task), contract.turns
    for sequence in range(sequences):
        pool = sample_goal_pool(task, size=goals, seed=SEQUENCE_SEED + sequence)
        yield [
            GoalPose(position=tuple(request[:3]), orientation_wxyz=tuple(request[3:]) if pose else None)
            for request in pool.goal.tolist()
        ]


def measure_goals(policy: Policy, setting: Setting, lists: list[list[GoalPose]], timeout_s: float) -> dict[str, Any]:
    """Goals reached, and ticks in which the layer stepped in."""
    counts, reached = {"ticks": 0, "clamped": 0, "held": 0}, []
    model = find_model(policy.contract) if setting.geometry else None
    for goals in lists:
        geometry_checker = geometry_checker_for(model, policy.contract, setting.config)
        core = PolicyController(policy, safety=setting.config, geometry_checker=geometry_checker)
        reached.append(run_sequence(core, goals, timeout_s))
        counts["ticks"] += core.safety.ticks
        counts["clamped"] += core.safety.clamped
        counts["held"] += core.safety.holds
    sent, allowed = len(lists[0]), len(lists[0]) - 1
    shares = {
        "reached": sum(reached) / (sent * len(lists)),
        "all_but_one": float(np.mean([count >= allowed for count in reached])),
    }
    return {"setting": setting.name, **shares, **counts}


def measure_times(policy: Policy, calls: int) -> dict[str, float]:
    """Median µs of each part of the layer, and of the inference beside it."""
    contract = policy.contract
    geometry_checker = geometry_checker_for(find_model(contract), contract, SafetyConfig())
    safety = Safety(contract, SafetyConfig(ramp_in_s=0, frozen_after_periods=None, tracking_max_rad=100.0))
    rng = np.random.default_rng(0)
    low, high = safety.low, safety.high
    postures = rng.uniform(low, high, (calls, len(low)))
    readings = Readings.of(contract)
    readings.end_effector_orientation[0] = 1.0
    readings.joint_effort[:] = 0.0
    safety.start(postures[0])

    def check(posture: np.ndarray) -> None:
        readings.joint_position[:] = posture
        safety.check(readings, 0.0)

    parts: dict[str, Callable[[np.ndarray], object]] = {
        "inference": lambda _: policy.run(),
        "check": check,
        "limit": safety.limit,
        "settle": lambda _: safety.settle(safety.reason),
    }
    if geometry_checker is not None:
        present = postures[0].tolist()
        parts["geometry"] = lambda posture: geometry_checker.blocks([posture.tolist()], present)
    return {name: _median_us(part, postures) for name, part in parts.items()}


def _median_us(part: Callable[[np.ndarray], object], postures: np.ndarray) -> float:
    times = np.empty(len(postures))
    for index, posture in enumerate(postures):
        started = time.perf_counter_ns()
        part(posture)
        times[index] = time.perf_counter_ns() - started
    return float(np.median(times)) / 1e3


def main() -> None:
    """Print both tables, write JSON."""
    arguments = tyro.cli(Arguments, description=__doc__)
    result = _measure(arguments)
    write_numbers(arguments.json, {**result})


def _measure(arguments: Arguments) -> dict[str, Any]:
    if not arguments.files:
        raise ShoalError("safety: name at least one policy file.")
    sequences, goals = (2, 5) if arguments.quick else (arguments.sequences, arguments.goals)
    rows: list[dict[str, Any]] = []
    times: list[dict[str, Any]] = []
    for path in arguments.files:
        policy = Policy(path)
        lists = list(goal_lists(policy.contract, sequences, goals))
        rows += [
            {"file": path.name} | measure_goals(policy, setting, lists, arguments.timeout_s)
            for setting in track(SETTINGS, path.name, transient=True)
        ]
        times.append({"file": path.name} | measure_times(policy, 200 if arguments.quick else 5000))
    _print(rows, times, f"{sequences} sequences of {goals} goals, {arguments.timeout_s:g} s each")
    return {"goals": rows, "times_us": times}


def _print(rows: list[dict[str, Any]], times: list[dict[str, Any]], title: str) -> None:
    console = Console()
    table = Table("file", "safety", "goals reached", "all but one", "clamped ticks", "held ticks", title=title)
    for row in rows:
        clamped, held = (f"{100 * row[name] / row['ticks']:.1f} %" for name in ("clamped", "held"))
        shares = (f"{100 * row[name]:.1f} %" for name in ("reached", "all_but_one"))
        table.add_row(row["file"], row["setting"], *shares, clamped, held)
    console.print(table)
    table = Table(*times[0], title="median time of a call, hot, µs")
    for row in times:
        table.add_row(row["file"], *(f"{value:.1f}" for name, value in row.items() if name != "file"))
    console.print(table)


if __name__ == "__main__":
    with command_line():
        main()
