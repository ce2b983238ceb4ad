"""What walking asks of a quadruped's drives and feet: efforts, joint speeds and power against limits, and slip.

    python -m benchmarks.policies.drive_load models/quadruped_walk.onnx [--goals 32] [--quick] [--json PATH]

Goals between 1 and 3 m away, 1000 control steps each, as `benchmarks.policies.walking` sends them. Numbers are of all
steps of robots that have not fallen: the way there, and trotting on the spot at the goal.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.machine import write_numbers
from benchmarks.policies.onnx_evaluation import HELD_OUT_SEED, policy_targets
from benchmarks.policies.walking import walk
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.contract.schema import PER_POLICY, differences
from sim2real.errors import ShoalError
from sim2real.tasks.task import Task, load_task

TASK = Path(__file__).parents[1] / "tasks" / "quadruped_load.yaml"
FEET = ("front_left_foot", "front_right_foot", "rear_left_foot", "rear_right_foot")
_TOUCHES_M = 0.025
"""Height of a foot's middle, whose radius is 22 mm, below which it is on the ground."""


@dataclass(frozen=True)
class Load:
    """Over all steps of robots that stand."""

    effort_rms: float
    """Root mean square of the hardest-working joint, as a share of its effort limit."""
    effort_p99: float
    """Of all joints, as a share of each one's limit."""
    effort_max: float
    speed_p99: float
    """Joint speed as a share of each joint's limit."""
    speed_max: float
    power_mean_w: float
    """Sum over joints of |effort x speed|, which counts braking as if it cost as much as driving."""
    power_p99_w: float
    walking_m_s: float
    """Median speed of the base in the first three seconds."""
    slip_m_s: float
    """Mean speed along the ground of feet that touch it."""


class Watch:
    """Collects what the simulation tells after every step."""

    def __init__(self, task: Task) -> None:
        joints = task.contract.robot.joints
        self._effort_limit = np.array([joint.effort_max for joint in joints])
        self._speed_limit = np.array([joint.velocity_max for joint in joints])
        self._dt = task.contract.timing.control_dt_s
        self._feet: np.ndarray | None = None
        self._columns: dict[str, list[np.ndarray]] = {name: [] for name in ("effort", "speed", "base", "slip")}

    def __call__(self, truth: Mapping[str, np.ndarray], standing: np.ndarray) -> None:
        """One step of N robots, of which those count that are `standing`, `[N]` bool."""
        feet = np.stack([truth[name] for name in FEET], axis=1)
        before = feet if self._feet is None else self._feet
        slip = np.linalg.norm((feet - before)[..., :2], axis=-1) / self._dt
        touches = (feet[..., 2] < _TOUCHES_M) & (before[..., 2] < _TOUCHES_M) & standing[:, None]
        self._feet = feet.copy()
        step = {
            "effort": truth["joint_effort"][standing],
            "speed": truth["joint_velocity"][standing],
            "base": np.linalg.norm(truth["base_linear_velocity"][standing, :2], axis=-1),
            "slip": slip[touches],
        }
        for name, values in step.items():
            self._columns[name].append(values.copy())

    def load(self) -> Load:
        """All of it together."""
        effort, speed, slip = (np.concatenate(self._columns[name]) for name in ("effort", "speed", "slip"))
        base = np.concatenate(self._columns["base"][: round(3.0 / self._dt)])
        power = np.abs(effort * speed).sum(axis=-1)
        effort_share, speed_share = np.abs(effort) / self._effort_limit, np.abs(speed) / self._speed_limit
        return Load(
            effort_rms=float(np.sqrt((effort_share**2).mean(axis=0)).max()),
            effort_p99=float(np.quantile(effort_share, 0.99)),
            effort_max=float(effort_share.max()),
            speed_p99=float(np.quantile(speed_share, 0.99)),
            speed_max=float(speed_share.max()),
            power_mean_w=float(power.mean()),
            power_p99_w=float(np.quantile(power, 0.99)),
            walking_m_s=float(np.median(base)),
            slip_m_s=float(slip.mean()) if slip.size else 0.0,
        )


@dataclass(frozen=True)
class Arguments:
    """Measure what a quadruped's policy asks of its drives."""

    file: tyro.conf.Positional[Path]
    goals: int = 32
    quick: bool = False
    """4 goals."""
    json: JsonFile | None = None
    """Write the result here too."""


def main() -> None:
    """Print the table and write JSON."""
    arguments = tyro.cli(Arguments, description=__doc__)
    count = 4 if arguments.quick else arguments.goals
    shipped, targets = policy_targets(arguments.file, rows=count)
    task = load_task(TASK)
    other = [path for path, *_ in differences(shipped.contract, task.contract, ignore=(*PER_POLICY, "task"))]
    if other:
        raise ShoalError(
            f"{arguments.file}: the load is that of quadruped_walk; {shipped.contract.task} differs from it in "
            f"{', '.join(other[:3])}. Give a policy of quadruped_walk."
        )
    watch = Watch(task)
    walk(task, targets, goals=count, nearest_m=1.0, distance_m=3.0, seed=HELD_OUT_SEED, watch=watch)
    row = dataclasses.asdict(watch.load())
    table = Table("what", "value", title=arguments.file.name)
    for name, value in row.items():
        table.add_row(name, f"{value:.0f}" if name.endswith("_w") else f"{value:.2f}")
    Console().print(table)
    write_numbers(arguments.json, {"file": arguments.file.name, "goals": count} | row)


if __name__ == "__main__":
    with command_line():
        main()
