"""Does closing the loop pay? Policies trained without randomisation, with folklore's ranges, and with identified ones.

    python -m benchmarks.sim2real.sim2real_loop [--seeds 3] [--updates 12000] [--quick] [--json PATH] [--plot PATH]

A hidden robot stands in for a real one: MuJoCo's FR3 with a payload, friction, servo gains, encoder biases, delay,
jitter and noise that its model doesn't know, another one for each seed. One minute of an exciting trajectory is played
on it, recorded and identified. A teacher is trained and distilled with each of

    none         the model as it is
    folklore     the preset `hard`, about as wide as what public stacks use
    identified   the ranges that the log justifies, `mild` for what it doesn't tell

and the exported student is judged on the hidden robot, on starts and goals of a seed that training never used. Finished
cells are kept in `--folder`, and an interrupted run goes on.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.distillation.plot import interval
from benchmarks.machine import machine
from benchmarks.sim2real.hidden_robot import Truth, play
from export.write import export_student
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.errors import ShoalError
from sim2real.evaluation.intervals import wilson
from sim2real.files import write_json, write_text
from sim2real.identification.excitation import read_trajectory, suggest, write_trajectory
from sim2real.identification.fit import fit
from sim2real.identification.parameters import Bounds, Kind, make_problem
from sim2real.identification.ranges import justified
from sim2real.pages import save_figure
from sim2real.randomisation.config import dump_randomisation, load_randomisation
from sim2real.randomised_robots.sampling import Draws, neutral_draws
from sim2real.robots.kinematics import Addresses
from sim2real.stress.episodes import Stand
from sim2real.tasks.task import Task, load_task
from student.config import DistillConfig
from student.distillation.distill import Distiller
from student.run import load_student, save_student
from teacher.config import TeacherConfig
from teacher.run.folder import RunFolder
from teacher.train import Trainer
from teacher.trained import load_teacher

CONDITIONS = ("none", "folklore", "identified")
KINDS: tuple[Kind, ...] = ("friction_loss", "servo_stiffness", "servo_damping", "payload_mass", "action_delay")
_COLOURS = {"none": "#9fb3c8", "folklore": "#d9822b", "identified": "#2b8a3e"}
BOUNDS = Bounds(friction_loss_scale=(0.0, 10.0), action_delay_s=(0.0, 0.25))
HIDDEN_SEED = 8_000_009
"""Of hidden robots: far from the seeds of training and of its evaluations."""


@dataclass(frozen=True)
class Setting:
    """A task and how much is spent on it."""

    task: str
    teacher: dict[str, Any]
    """Changes to `TeacherConfig`."""
    distill: dict[str, Any]
    """Changes to `DistillConfig`."""
    log_s: float = 60.0
    candidates: int = 3
    """Trajectories tried before one is played."""
    episodes: int = 512
    conditions: tuple[str, ...] = CONDITIONS
    certified: int = 2000
    """Inputs on which the exported graph is compared with the student."""


_STUDENT: dict[str, Any] = {
    "feature_weight": 0.0,
    "embedding_weight": 0.0,
    "reachability_episodes": 64,
    "reachability_updates": 50,
    "eval_every_rounds": 10,
    "eval_envs": 64,
}
FRANKA = Setting(
    "franka_reach",
    {
        "updates": 12000,
        "eval_every_rounds": 10,
        "eval_envs": 64,
        "checkpoint_every_rounds": 5,
        "network": {"actor_depth": 4, "critic_depth": 4, "width": 64},
    },
    {
        "rounds": 24,
        "num_envs": 64,
        "updates_per_round": 250,
        "batch_size": 512,
        "student": {"hidden_layers": 2, "hidden_width": 128},
    }
    | _STUDENT,
)
PLANAR = Setting(
    str(Path(__file__).parents[1] / "tasks" / "planar_reach.yaml"),
    {
        "updates": 200,
        "num_envs": 16,
        "rollout_steps": 50,
        "updates_per_rollout": 50,
        "eval_envs": 16,
        "network": {"actor_depth": 4, "critic_depth": 4, "width": 16, "embedding_size": 16},
        "learner": {"batch_size": 64},
    },
    {
        "rounds": 2,
        "num_envs": 32,
        "updates_per_round": 50,
        "batch_size": 128,
        "student": {"hidden_layers": 1, "hidden_width": 16},
    }
    | _STUDENT
    | {"reachability_episodes": 8, "reachability_updates": 10},
    log_s=8.0,
    candidates=1,
    episodes=64,
    conditions=("none", "identified"),
    certified=200,
)


@dataclass(frozen=True)
class Arguments:
    """Train with and without what a log tells, and judge on the robot that made it."""

    seeds: int = 3
    updates: int = FRANKA.teacher["updates"]
    """Of each teacher; cells of different numbers belong in different folders."""
    folder: Path = Path("runs/sim2real_loop")
    quick: bool = False
    """One seed of a two-joint arm that is hardly trained, without folklore: shows that it works, not what is better."""
    json: JsonFile | None = None
    """Write every cell and the means here too."""
    plot: Path | None = None
    """Draw them here, as a PNG."""


def hidden_truth(task: Task, seed: int) -> Truth:
    """The robot of one seed: a heavy tool, soft and sticky drives, encoders a little off, commands three control
    periods late. Folklore's ranges contain all of it but the delay and part of the friction and of the gains.
    """
    rng, joints = np.random.default_rng([HIDDEN_SEED, seed]), task.contract.robot.joints
    period_s, count = task.contract.timing.control_dt_s, len(joints)
    nominal = task.model.dof_frictionloss[Addresses.of(task.model, task.contract.robot).dof]
    sticky = np.where(nominal > 0, nominal, 0.005 * np.array([joint.effort_max for joint in joints]))
    return Truth(
        friction_loss=sticky * rng.uniform(2.0, 8.0, count),
        servo_stiffness=np.array([joint.stiffness for joint in joints]) * rng.uniform(0.6, 0.9, count),
        servo_damping=np.array([joint.damping for joint in joints]) * rng.uniform(0.6, 0.9, count),
        joint_offset_rad=rng.uniform(-0.008, 0.008, count),
        payload_mass_kg=rng.uniform(0.5, 1.5),
        action_delay_s=rng.uniform(2.75, 3.5) * period_s,
        action_jitter_s=0.25 * period_s,
        noise_std_rad=5e-4,
    )


def as_draws(truth: Truth, task: Task, count: int) -> Draws:
    """Draws of the same robot `count` times, for many episodes at once; see `Randomisation` for the terms."""
    joints, neutral = task.contract.robot.joints, neutral_draws(task, count=count)
    nominal = task.model.dof_frictionloss[Addresses.of(task.model, task.contract.robot).dof]
    gains = {
        "servo_stiffness_scale": (truth.servo_stiffness, [joint.stiffness for joint in joints]),
        "servo_damping_scale": (truth.servo_damping, [joint.damping for joint in joints]),
    }
    per_joint = {name: value / np.array(model) for name, (value, model) in gains.items() if value is not None}
    if truth.friction_loss is not None:
        per_joint["friction_loss_scale"] = np.divide(
            truth.friction_loss, nominal, out=np.ones(len(joints)), where=nominal > 0
        )
        per_joint["friction_loss_add_nm"] = np.where(nominal > 0, 0.0, truth.friction_loss)
    if truth.joint_offset_rad is not None:
        per_joint["joint_offset_rad"] = truth.joint_offset_rad
    numbers = {
        "payload_mass_kg": truth.payload_mass_kg,
        "action_delay_s": truth.action_delay_s,
        "action_jitter_s": truth.action_jitter_s,
        "joint_position_noise_std_rad": truth.noise_std_rad,
    }
    return neutral._replace(
        **{name: np.tile(value, (count, 1)) for name, value in per_joint.items()},
        **{name: np.full(count, value) for name, value in numbers.items()},
    )


@dataclass(frozen=True)
class Loop:
    """All cells of a run, in one folder."""

    setting: Setting
    folder: Path
    task: Task = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "task", load_task(self.setting.task))

    def cells(self, seeds: int) -> Iterator[tuple[int, str]]:
        """Seed by seed, so that an interrupted run leaves whole seeds."""
        return ((seed, condition) for seed in range(seeds) for condition in self.setting.conditions)

    def result(self, seed: int, condition: str) -> dict[str, Any]:
        """Success of one cell on the hidden robot and on the model, or what an earlier call left."""
        cell = self.folder / f"{condition}_{seed}"
        kept = cell / "result.json"
        if kept.is_file():
            return dict(json.loads(kept.read_text()))
        model = self._policy(cell, seed, self._ranges(seed, condition))
        stand = Stand(model, self.task, seed=seed, episodes=self.setting.episodes)
        hidden = stand.errors_of(as_draws(hidden_truth(self.task, seed), self.task, self.setting.episodes))
        itself = stand.errors_of(neutral_draws(self.task, count=self.setting.episodes))
        row = {
            "seed": seed,
            "condition": condition,
            "episodes": len(hidden.coarse),
            "reached": int(hidden.coarse.sum()),
            "success": float(hidden.coarse.mean()),
            "success_fine": float(hidden.fine.mean()),
            "median_error_mm": float(1e3 * np.median(hidden.position_m[-1])),
            "success_on_model": float(itself.coarse.mean()),
        }
        # Every run compiles its own programs; dozens of them in one process exceed the number of memory maps.
        jax.clear_caches()  # type: ignore[no-untyped-call]
        write_json(kept, row, indent=1)
        return row

    def _ranges(self, seed: int, condition: str) -> str:
        """The preset or file that training draws robots from."""
        match condition:
            case "none":
                return "off"
            case "folklore":
                return "hard"
        path = self.folder / f"identified_{seed}.yaml"
        if not path.is_file():
            self._identify(seed, path)
        return str(path)

    def _identify(self, seed: int, path: Path) -> None:
        """One minute on the hidden robot, and what it justifies."""
        problem = make_problem(str(self.task.mjcf_path), self.task.contract, KINDS, bounds=BOUNDS)
        exciting = self.folder / "excitation.csv"
        if not exciting.is_file():
            # The same for all robots: the search knows the model only.
            best = suggest(problem, self.task, duration_s=self.setting.log_s, candidates=self.setting.candidates)
            write_trajectory(best.trajectory, exciting)
        command = read_trajectory(exciting, self.task.contract).command
        log = play(self.task, hidden_truth(self.task, seed), command, seed=HIDDEN_SEED + seed)
        ranges, reasons = justified(fit(problem, log.segments()), load_randomisation("mild"))
        write_text(path, "".join(f"# {reason}\n" for reason in reasons) + dump_randomisation(ranges))

    def _policy(self, cell: Path, seed: int, ranges: str) -> Path:
        """Train, distil, export; the policy's file."""
        model = cell / "student.onnx"
        if model.is_file():
            return model
        config = TeacherConfig.model_validate(
            self.setting.teacher
            | {"task": self.setting.task, "backend": "native", "seed": seed, "randomisation": ranges}
        )
        run = cell / "teacher"
        if not (run / "summary.json").is_file():
            Trainer(config, RunFolder(run), resume=(run / "config.yaml").is_file()).train()
        teacher = load_teacher(run)
        settings = DistillConfig.model_validate(self.setting.distill | {"seed": seed, "randomisation": ranges})
        folder = RunFolder(cell / "student")
        started = (folder.path / "config.yaml").is_file()
        if not started:
            folder.start(settings, teacher.contract)
        distiller = Distiller(teacher, settings, folder, resume=started)
        params, _ = distiller.run()
        save_student(folder, distiller.contract, teacher.config.task, params)
        export_student(load_student(folder.path), model, samples=self.setting.certified)
        return model


def summarise(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over seeds with 95 % intervals over seeds, and the interval of all episodes together."""
    lines = []
    for condition in dict.fromkeys(row["condition"] for row in rows):
        some = [row for row in rows if row["condition"] == condition]
        success, fine, error_mm, on_model = (
            np.array([row[name] for row in some])
            for name in ("success", "success_fine", "median_error_mm", "success_on_model")
        )
        episodes = wilson(sum(row["reached"] for row in some), sum(row["episodes"] for row in some), 0.95)
        lines.append(
            {
                "condition": condition,
                "seeds": len(some),
                "success": float(success.mean()),
                "success_ci95": interval(success),
                "episodes_interval": episodes,
                "worst_seed": float(success.min()),
                "success_fine": float(fine.mean()),
                "success_fine_ci95": interval(fine),
                "median_error_mm": float(error_mm.mean()),
                "success_on_model": float(on_model.mean()),
            }
        )
    return lines


def draw(rows: list[dict[str, Any]], lines: list[dict[str, Any]], path: Path) -> None:
    """Success on the hidden robot: bars for means and their intervals, a dot for each seed; on the model, rings."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
    conditions = [line["condition"] for line in lines]
    axis.bar(
        conditions,
        [line["success"] for line in lines],
        0.55,
        color=[_COLOURS[name] for name in conditions],
        alpha=0.75,
        yerr=[line["success_ci95"] or 0.0 for line in lines],
        capsize=4,
    )
    for place, condition in enumerate(conditions):
        some = [row for row in rows if row["condition"] == condition]
        for name, marker, shift in (("success", "k.", 0.0), ("success_on_model", "ko", 0.35)):
            axis.plot([place + shift] * len(some), [row[name] for row in some], marker, ms=5, mfc="none")
    axis.plot([], [], "k.", label="a seed, on its hidden robot")
    axis.plot([], [], "ko", mfc="none", ms=5, label="the same policy, on the model")
    axis.axhline(0.95, color="#5b6b7b", lw=0.8, ls=":")
    axis.set(
        ylabel="success", ylim=(0, 1.08), xlim=(-0.5, len(conditions) - 0.4), title="trained with which randomisation?"
    )
    axis.legend(loc="upper left", bbox_to_anchor=(0.0, 0.75), fontsize=8)
    axis.grid(axis="y", alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, path)


def setting_of(arguments: Arguments) -> Setting:
    """What is trained."""
    if arguments.quick:
        return PLANAR
    return dataclasses.replace(FRANKA, teacher=FRANKA.teacher | {"updates": arguments.updates})


def run_all(arguments: Arguments) -> list[dict[str, Any]]:
    """Run every cell."""
    if min(arguments.seeds, arguments.updates) < 1:
        raise ShoalError(f"--seeds and --updates must be at least 1, got {arguments.seeds} and {arguments.updates}.")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) if arguments.quick else arguments.folder
        # All cells have the same programs; only what they are fed differs.
        jax.config.update("jax_compilation_cache_dir", str(folder / "compiled"))  # type: ignore[no-untyped-call]
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # type: ignore[no-untyped-call]
        loop = Loop(setting_of(arguments), folder)
        cells = list(loop.cells(1 if arguments.quick else arguments.seeds))
        return [loop.result(*cell) for cell in track(cells, "cells", console=Console(stderr=True))]


def main() -> None:
    """Print the table, write JSON and picture."""
    arguments = tyro.cli(Arguments, description=__doc__)
    rows = run_all(arguments)
    lines = summarise(rows)
    table = Table(
        "trained with",
        "on the hidden robot",
        "all episodes, 95 %",
        "worst seed",
        "held at 2 cm",
        "median error",
        "on the model",
    )
    for line in lines:
        coarse, fine = (
            f"{line[name]:.1%}" + ("" if line[f"{name}_ci95"] is None else f" ± {line[f'{name}_ci95']:.1%}")
            for name in ("success", "success_fine")
        )
        episodes = "{:.1%} to {:.1%}".format(*line["episodes_interval"])
        table.add_row(
            line["condition"],
            coarse,
            episodes,
            f"{line['worst_seed']:.1%}",
            fine,
            f"{line['median_error_mm']:.1f} mm",
            f"{line['success_on_model']:.1%}",
        )
    Console(width=130).print(table)
    if arguments.json:
        setting = dataclasses.asdict(setting_of(arguments))
        report = {"machine": machine(), "setting": setting | {"task": Path(setting["task"]).stem}, "rows": rows}
        write_json(arguments.json, report | {"summary": lines}, indent=1)
    if arguments.plot:
        draw(rows, lines, arguments.plot)


if __name__ == "__main__":
    with command_line():
        main()
