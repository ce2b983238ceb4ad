"""Whether a student that imitates the best by the critic of many candidates beats the teacher's own actor.

    python -m benchmarks.distillation.best_of [--tasks swimmer mobile_base_maze] [--seeds 2] [--json PATH] [--quick]

For each task and seed one teacher is trained, and two students are distilled from it in the same way, but for
`--labels`: one imitates the actor, one the best of N. Actor, best of N and both students then attempt the same held-out
goals from the same starts; each is held against the actor by an exact sign test. Runs are kept in `--folder`: finished
ones are not repeated, interrupted ones go on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.machine import write_numbers
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.evaluation.success import episode_errors
from student.config import DistillConfig, StudentNetworkConfig
from student.distillation.distill import Distiller, evaluation_environment
from student.history import as_teacher
from student.report.comparison import sign_test
from teacher.config import LearnerConfig, NetworkConfig, TeacherConfig
from teacher.policies import best_of, greedy
from teacher.run.folder import RunFolder
from teacher.study.runner import trained
from teacher.trained import Teacher, load_teacher, whole_episodes


@dataclass(frozen=True)
class Arguments:
    """Train teachers, distil students of both kinds, judge all."""

    tasks: tuple[str, ...] = ("swimmer", "mobile_base_maze")
    seeds: int = 2
    candidates: int = 16
    updates: int = 4500
    depth: int = 8
    num_envs: int = 64
    rounds: int = 16
    """Of distillation."""
    layers: int = 2
    episodes: int = 512
    folder: Path = Path("runs/best_of")
    quick: bool = False
    """Tiny networks and 60 updates: shows that it works, not what is better."""
    json: JsonFile | None = None


def quick(arguments: Arguments) -> Arguments:
    """The same with 60 updates."""
    tiny: dict[str, Any] = {"tasks": ("mobile_base_maze",), "updates": 60, "depth": 4, "num_envs": 8, "episodes": 16}
    return replace(arguments, **tiny, seeds=1, rounds=2, folder=arguments.folder / "quick")


def teacher_of(task: str, seed: int, arguments: Arguments) -> Teacher:
    """Trained, or read."""
    size = {"actor_depth": arguments.depth, "critic_depth": arguments.depth}
    config = TeacherConfig(
        task=task,
        backend="native",
        seed=seed,
        num_envs=arguments.num_envs,
        updates=arguments.updates,
        updates_per_rollout=min(300, arguments.updates),
        eval_envs=min(128, arguments.episodes),
        network=NetworkConfig.model_validate(size),
        learner=LearnerConfig(random_goal_share=0.5),
    )
    run = RunFolder(arguments.folder / f"{Path(task).stem}_{arguments.depth}_{arguments.updates}_{seed}")
    trained(config, run)
    return load_teacher(run.path)


def student_of(teacher: Teacher, labels: str, arguments: Arguments) -> Distiller:
    """Distilled, or read."""
    config = DistillConfig(
        seed=teacher.config.seed,
        labels=labels,
        rounds=arguments.rounds,
        eval_every_rounds=arguments.rounds,
        checkpoint_every_rounds=1,
        eval_envs=arguments.episodes,
        num_envs=2 * arguments.num_envs,
        student=StudentNetworkConfig(hidden_layers=arguments.layers, hidden_width=64),
    )
    name = f"{Path(teacher.config.task).stem}_{arguments.updates}_{teacher.config.seed}_{labels}_{arguments.rounds}"
    folder = RunFolder(arguments.folder / name)
    if not (resume := folder.holds_run):
        folder.start(config, teacher.contract)
    distiller = Distiller(teacher, config, folder, resume=resume)
    if distiller.round < config.rounds:
        # Its checkpoints hold the rounds before the last one, which is always made again.
        distiller.train()
    return distiller


def judged(task: str, seed: int, arguments: Arguments) -> dict[str, np.ndarray]:
    """Which of the goals each of the four reaches, `[N]` bool."""
    teacher, count = teacher_of(task, seed, arguments), arguments.candidates
    students = {
        f"student of {labels}": student_of(teacher, labels, arguments) for labels in ("actor", f"best-of-{count}")
    }
    env = evaluation_environment(teacher, next(iter(students.values())).config)
    own = {"actor": (greedy(teacher.networks), teacher.actor)}
    own[f"best of {count}"] = (best_of(teacher.networks, count), (teacher.actor, teacher.critic))
    policies = {name: (as_teacher(teacher.contract, 0, apply), params) for name, (apply, params) in own.items()}
    policies |= {name: (one.apply, one.state.policy) for name, one in students.items()}
    start = env.state_dict()
    found = {}
    for name, (apply, params) in policies.items():
        env.load_state_dict(start)
        found[name] = episode_errors(teacher.contract, whole_episodes(env, apply, params)).coarse
    return found


def main() -> None:
    """Judge all, print the table, write JSON."""
    arguments = tyro.cli(Arguments, description=__doc__)
    if arguments.quick:
        arguments = quick(arguments)
    table = Table("task", "seed", "who", "coarse", "against the actor", "p")
    rows = []
    for task in arguments.tasks:
        for seed in range(arguments.seeds):
            found = judged(task, seed, arguments)
            actor = found["actor"]
            for name, reached in found.items():
                gain, chance = 100 * float(reached.mean() - actor.mean()), sign_test(reached, actor)
                table.add_row(
                    Path(task).stem, str(seed), name, f"{reached.mean():.1%}", f"{gain:+.1f} points", f"{chance:.2g}"
                )
                rows.append(
                    {"task": Path(task).stem, "seed": seed, "who": name, "coarse": float(reached.mean()), "p": chance}
                )
    Console().print(table)
    names = ("candidates", "updates", "depth", "num_envs", "rounds", "layers", "episodes")
    write_numbers(arguments.json, {name: getattr(arguments, name) for name in names} | {"rows": rows})


if __name__ == "__main__":
    with command_line():
        main()
