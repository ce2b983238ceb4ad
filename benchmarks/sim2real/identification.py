"""Do the intervals of `sim2real identify` hold what they promise? Known robots, identified from simulated logs.

    python -m benchmarks.sim2real.identification [--robot planar|franka] [--trials 50] [--quick] [--json PATH]

Every trial draws another robot, plays another random Fourier series on it, with encoder noise, a delay and jitter, and
fits. The table says in how many trials the true value lay within the 95 % interval, and how wide that was. Trials run
on all cores; with --json, finished ones are kept there, and a run that was interrupted goes on.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.machine import write_numbers
from benchmarks.sim2real.hidden_robot import Truth, play
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.identification.excitation import fourier, random_coefficients
from sim2real.identification.fit import fit
from sim2real.identification.parameters import Kind, make_problem
from sim2real.tasks.task import Task, load_task

RobotName = Literal["planar", "franka"]

KINDS: dict[RobotName, tuple[Kind, ...]] = {
    "planar": (
        "friction_loss",
        "armature",
        "servo_stiffness",
        "servo_damping",
        "joint_offset",
        "payload_mass",
        "action_delay",
    ),
    "franka": ("friction_loss", "servo_stiffness", "servo_damping", "payload_mass", "action_delay"),
}
"""What is unknown in each trial. Not an encoder's bias on the FR3: with gravity compensated, nothing shows it."""

TASKS = {"planar": str(Path(__file__).parents[1] / "tasks" / "lifting_reach.yaml"), "franka": "franka_reach"}


@dataclass(frozen=True)
class Arguments:
    """Coverage of identification's intervals."""

    robot: RobotName = "planar"
    trials: int = 50
    duration_s: float = 20.0
    """Of each log."""
    noise_std_rad: float = 5e-4
    """Of each joint reading."""
    jitter_s: float = 0.002
    """Commands are up to this much later, each anew, on top of the delay."""
    seed: int = 0
    quick: bool = False
    """Four trials of ten seconds on the planar arm."""
    json: JsonFile | None = None
    """Where the rows go, and where a run that was interrupted goes on."""


def robot_task(robot: RobotName) -> Task:
    """The task of one of the two robots."""
    return load_task(TASKS[robot])


def draw_truth(task: Task, kinds: tuple[Kind, ...], arguments: Arguments, rng: np.random.Generator) -> Truth:
    """A robot whose parameters of these kinds are others than the model's."""
    joints, model = task.contract.robot.joints, task.model
    count = len(joints)

    def around(values: Any, low: float, high: float) -> np.ndarray:
        return np.asarray(values) * rng.uniform(low, high, count)

    dofs = [model.joint(joint.name).dofadr[0] for joint in joints]
    unknown: dict[Kind, tuple[str, Any]] = {
        "damping": ("damping", around(model.dof_damping[dofs], 0.5, 3.0)),
        "friction_loss": ("friction_loss", around(model.dof_frictionloss[dofs], 0.5, 3.0)),
        "armature": ("armature", around(model.dof_armature[dofs], 0.7, 1.5)),
        "servo_stiffness": ("servo_stiffness", around([joint.stiffness for joint in joints], 0.8, 1.25)),
        "servo_damping": ("servo_damping", around([joint.damping for joint in joints], 0.8, 1.25)),
        "joint_offset": ("joint_offset_rad", rng.uniform(-0.03, 0.03, count)),
        "payload_mass": ("payload_mass_kg", rng.uniform(0.1, 1.0)),
        "action_delay": ("action_delay_s", rng.uniform(0.004, 0.04)),
    }
    values = dict(unknown[kind] for kind in kinds)
    return Truth(**values, noise_std_rad=arguments.noise_std_rad, action_jitter_s=arguments.jitter_s)


def true_value(truth: Truth, kind: str, joint: int, period_s: float) -> float:
    """True value of one quantity of the fit. Jitter moves the mean delay."""
    match kind:
        case "payload_mass":
            return truth.payload_mass_kg
        case "action_delay":
            return truth.mean_delay_s(period_s)
        case "joint_offset":
            kind = "joint_offset_rad"
    return float(getattr(truth, kind)[joint])


def trial(arguments: Arguments, number: int) -> list[dict[str, Any]]:
    """One robot, one log, one fit: a row for each quantity."""
    rng = np.random.default_rng([arguments.seed, number])
    kinds = KINDS[arguments.robot]
    task = robot_task(arguments.robot)
    truth = draw_truth(task, kinds, arguments, rng)
    coefficients = random_coefficients(len(task.contract.joint_names), rng)
    log = play(task, truth, fourier(task, coefficients, arguments.duration_s).command, seed=number)
    problem = make_problem(str(task.mjcf_path), task.contract, kinds)
    result = fit(problem, log.segments(), threads=1)
    period_s = task.contract.timing.control_dt_s
    rows = []
    for estimate in result.estimates:
        true = true_value(truth, estimate.quantity.kind, estimate.quantity.joint, period_s)
        rows.append(
            {
                "trial": number,
                "quantity": estimate.quantity.name,
                "kind": estimate.quantity.kind,
                "true": true,
                "value": estimate.value,
                "low": estimate.low,
                "high": estimate.high,
                "width_of_bounds": estimate.share_of_bounds,
                "within": bool(estimate.low <= true <= estimate.high),
            }
        )
    return rows


def table(rows: list[dict[str, Any]], arguments: Arguments) -> Table:
    """Coverage and median width for each kind of quantity."""
    trials = len({row["trial"] for row in rows})
    view = Table(
        "quantity",
        "in the interval",
        "median width, of the bounds",
        "median error, of the bounds",
        title=f"{arguments.robot}, {trials} trials of {arguments.duration_s:g} s, 95 % intervals",
    )
    for kind in dict.fromkeys(row["kind"] for row in rows):
        view.add_row(kind, *_cells([row for row in rows if row["kind"] == kind]))
    view.add_section()
    view.add_row("all", *_cells(rows))
    return view


def _cells(rows: list[dict[str, Any]]) -> list[str]:
    share = np.mean([row["within"] for row in rows])
    widths = [row["width_of_bounds"] for row in rows]
    errors = [
        abs(row["value"] - row["true"]) * row["width_of_bounds"] / max(row["high"] - row["low"], 1e-12) for row in rows
    ]
    return [f"{share:.1%} of {len(rows)}", f"{np.median(widths):.4f}", f"{np.median(errors):.4f}"]


def main() -> None:
    """Print the table, write JSON."""
    arguments = tyro.cli(Arguments)
    if arguments.quick:
        arguments = Arguments(trials=4, duration_s=10.0, json=arguments.json, seed=arguments.seed)
    settings = {
        name: getattr(arguments, name)
        for name in ("robot", "trials", "duration_s", "noise_std_rad", "jitter_s", "seed")
    }
    rows = _kept(arguments.json, settings)
    done = {row["trial"] for row in rows}
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        waiting = [pool.submit(trial, arguments, number) for number in range(arguments.trials) if number not in done]
        for future in track(as_completed(waiting), "trials", total=len(waiting), console=Console(stderr=True)):
            rows += future.result()
            write_numbers(arguments.json, {"settings": settings, "rows": rows})
    Console().print(table(rows, arguments))


def _kept(path: Path | None, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of an earlier run with the same settings, whatever its number of trials."""
    if path is None or not path.is_file():
        return []
    found = json.loads(path.read_text())
    same = {**found["settings"], "trials": settings["trials"]} == settings
    return [row for row in found["rows"] if row["trial"] < settings["trials"]] if same else []


if __name__ == "__main__":
    with command_line():
        main()
