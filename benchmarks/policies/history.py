"""Does a student that remembers pay where readings are late or missing? The planar arm of the control experiment.

    python -m benchmarks.distillation.control_experiment --tasks planar_reach --cases c --seeds 3   # makes the teachers
    python -m benchmarks.policies.history [--seeds 3] [--quick] [--json PATH] [--plot PATH]

Every student learns from the same teacher, which labels the true state, and is judged under the conditions it learned
for: all readings at once; no joint velocities; readings 100 ms (two control steps) late; late and without velocities.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.distillation.cases import ACTIONS, SETTINGS
from benchmarks.distillation.plot import interval
from benchmarks.distillation.run import EPISODES, HELD_OUT_SEED
from benchmarks.machine import write_numbers
from sim2real.backends import make_environment
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.files import write_json, write_text
from sim2real.pages import save_figure
from sim2real.randomisation.config import load_randomisation
from student.config import DistillConfig
from student.distillation.distill import Distiller
from student.history import remembering
from teacher.run.folder import RunFolder
from teacher.trained import evaluate, load_teacher

TASK = "planar_reach"
DELAY_S = 0.1
CONDITIONS: dict[str, tuple[bool, float]] = {
    "all readings": (True, 0.0),
    "no velocities": (False, 0.0),
    "100 ms late": (True, DELAY_S),
    "late, no velocities": (False, DELAY_S),
}
"""Whether velocities are read, and the age of readings in seconds."""


@dataclass(frozen=True)
class Arguments:
    """Compare students with and without a memory."""

    teachers: Path = Path("runs/control/planar_reach_64_1500")
    """Folder of the control experiment, with a teacher `SEED/c` for each seed."""
    seeds: int = 3
    steps: tuple[int, ...] = (0, 4)
    """Control steps that a student remembers."""
    folder: Path = Path("runs/history")
    """Finished students are kept here."""
    quick: bool = False
    """One seed, a tenth of the training, 64 episodes: shows that it works."""
    json: JsonFile | None = None
    """Write every run and the means here too."""
    plot: Path | None = None
    """Draw them here, as a PNG."""


def run_one(arguments: Arguments, condition: str, steps: int, seed: int, folder: Path) -> dict[str, Any]:
    """Distil and judge one student, or read what an earlier call left."""
    path = folder / f"{condition.replace(' ', '_')}_{steps}_{seed}" / "result.json"
    if path.is_file():
        return dict(json.loads(path.read_text()))
    teacher = load_teacher(arguments.teachers / str(seed) / "c")
    velocity, delay_s = CONDITIONS[condition]
    setting = late_readings(path.parent / "randomisation.yaml", delay_s)
    student = SETTINGS[TASK].student.model_copy(update={"history_steps": steps, "joint_velocity": velocity})
    config = DistillConfig.model_validate(
        SETTINGS[TASK].distill
        | ACTIONS
        | {"seed": seed, "student": student.model_dump(), "randomisation": setting, "true_labels": True}
        | ({"rounds": 2} if arguments.quick else {})
    )
    distiller = Distiller(teacher, config, RunFolder(path.parent))
    distiller.train()
    env = make_environment(
        teacher.task,
        "native",
        num_envs=64 if arguments.quick else EPISODES,
        seed=HELD_OUT_SEED,
        randomisation=load_randomisation(setting),
        keep_robots=True,
    )
    score = evaluate(remembering(env, steps), distiller.apply, distiller.state.policy)
    jax.clear_caches()  # type: ignore[no-untyped-call]
    row = {"condition": condition, "history_steps": steps, "seed": seed} | score.as_dict()
    write_json(path, row, indent=1)
    return row


def late_readings(path: Path, delay_s: float) -> str:
    """A file of `sim2real.randomisation` in which every reading is `delay_s` old; its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, f"observation_delay_s: {delay_s}\n")
    return str(path)


def summarise(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over seeds, and half widths of 95 % intervals."""
    out = []
    for condition, steps in dict.fromkeys((row["condition"], row["history_steps"]) for row in rows):
        runs = [row for row in rows if (row["condition"], row["history_steps"]) == (condition, steps)]
        line: dict[str, Any] = {"condition": condition, "history_steps": steps, "seeds": len(runs)}
        for name in ("success_coarse", "success_fine", "time_at_goal", "position_error_m"):
            values = np.array([run[name] for run in runs])
            line |= {name: float(values.mean()), f"{name}_ci95": interval(values)}
        out.append(line)
    return out


def draw(rows: list[dict[str, Any]], lines: list[dict[str, Any]], path: Path) -> None:
    """Fine success under every condition, bars for what is remembered, dots for seeds."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    conditions, memories = (list(dict.fromkeys(line[key] for line in lines)) for key in ("condition", "history_steps"))
    figure, axis = plt.subplots(figsize=(7.2, 3.6), layout="constrained")
    width = 0.8 / len(memories)
    colours = plt.get_cmap("Blues")(np.linspace(0.35, 0.85, len(memories)))
    for index, steps in enumerate(memories):
        some = [line for line in lines if line["history_steps"] == steps]
        place = np.arange(len(some)) + (index - (len(memories) - 1) / 2) * width
        axis.bar(
            place,
            [line["success_fine"] for line in some],
            0.9 * width,
            color=colours[index],
            yerr=[line["success_fine_ci95"] or 0.0 for line in some],
            capsize=2,
            label=f"remembers {steps} steps" if steps else "remembers nothing",
        )
        for x, line in zip(place, some, strict=True):
            values = [
                row["success_fine"]
                for row in rows
                if (row["condition"], row["history_steps"]) == (line["condition"], steps)
            ]
            axis.plot([x] * len(values), values, ".", color="black", ms=4)
    axis.set_xticks(range(len(conditions)), conditions)
    axis.set(ylabel="success, fine", ylim=(0, 1.05))
    axis.grid(axis="y", alpha=0.3)
    axis.legend(loc="lower left", fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, path)


def main() -> None:
    """Print the table, write JSON and picture."""
    arguments = tyro.cli(Arguments, description=__doc__)
    cells = [
        (condition, steps, seed)
        for seed in range(1 if arguments.quick else arguments.seeds)
        for condition in CONDITIONS
        for steps in arguments.steps
    ]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) if arguments.quick else arguments.folder
        rows = [run_one(arguments, *cell, folder) for cell in cells]
    lines = summarise(rows)
    table = Table("condition", "remembered steps", "coarse", "fine", "time at goal", "distance, mm")
    for line in lines:
        shares = (
            f"{line[name]:.1%}" + ("" if line[f"{name}_ci95"] is None else f" ± {line[f'{name}_ci95']:.1%}")
            for name in ("success_coarse", "success_fine", "time_at_goal")
        )
        table.add_row(line["condition"], str(line["history_steps"]), *shares, f"{1e3 * line['position_error_m']:.1f}")
    Console(width=120).print(table)
    write_numbers(arguments.json, {"rows": rows, "summary": lines})
    if arguments.plot:
        draw(rows, lines, arguments.plot)


if __name__ == "__main__":
    with command_line():
        main()
