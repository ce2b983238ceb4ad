"""Which settings of the teacher matter: short runs that differ from a base in one setting each.

    python -m benchmarks.learning.teacher_ablation [--quick] [--json PATH] [--seeds 2] [--updates 4500]
    python -m benchmarks.learning.teacher_ablation --task benchmarks/tasks/planar_push.yaml --updates 9000 \
        --num-envs 256 --cases base "no random postures" "hindsight goals as they are drawn" "gamma 0.9"

Prints success on held-out goals after the same number of updates, mean over seeds, and the time of an update
in the same run. Finished runs are kept in `--folder` and not repeated.
"""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.machine import machine
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.errors import ShoalError
from sim2real.files import write_json
from teacher.config import LearnerConfig, NetworkConfig, TeacherConfig
from teacher.run.folder import RunFolder
from teacher.train import Trainer

_SHOWN = ("success_coarse", "success_fine", "time_at_goal", "position_error_m", "angle_error_deg", "update_ms")
_BASE = NetworkConfig(actor_depth=4, critic_depth=4)
_CASES: dict[str, dict[str, dict[str, Any]]] = {
    "base": {},
    "critic before actor": {"learner": {"update_order": "critic_first"}},
    "no energy epsilon (paper)": {"learner": {"energy_epsilon": 0.0}},
    "starts and goals never resampled (paper)": {"run": {"resample": False, "continue_share": 0.0}},
    "bfloat16 blocks": {"network": {"compute_dtype": "bfloat16"}},
    "depth 16": {"network": {"actor_depth": 16, "critic_depth": 16}},
    "no random postures": {"run": {"random_posture_share": 0.0}},
    "hindsight goals as they are drawn": {"learner": {"moving_goal_share": 0.0}},
    "critic sees places (paper)": {"learner": {"critic_sees": "goal"}},
    "gamma 0.9": {"learner": {"gamma": 0.9}},
    "gamma 0.8": {"learner": {"gamma": 0.8}},
    "gamma 0.95": {"learner": {"gamma": 0.95}},
    "gamma 0.99 (paper)": {"learner": {"gamma": 0.99}},
    "termination cost 10": {"learner": {"termination_cost": 10.0}},
    "no posture weight": {"learner": {"posture_weight": 0.0}},
    "fresh starts only": {"run": {"continue_share": 0.0, "wide_start_share": 0.0}},
    "learning rates 1e-3": {
        "learner": {"actor_learning_rate": 1e-3, "critic_learning_rate": 1e-3, "warmup_updates": 300}
    },
    "constant learning rates": {"learner": {"final_learning_rate_fraction": 1.0}},
    "half the actor's goals random": {"learner": {"random_goal_share": 0.5}},
    "forward InfoNCE (paper)": {"learner": {"contrast": "forward"}},
    "initial alpha 1 (paper)": {"learner": {"initial_log_alpha": 0.0}},
    "paper block": {"network": {"design": "paper"}},
    "pre-norm block": {"network": {"design": "pre_norm"}},
}
"""Name to the changes of run, network and learner."""


@dataclass(frozen=True)
class Arguments:
    """Compare settings of the teacher."""

    task: str = "franka_pose"
    updates: int = 4500
    num_envs: int = 64
    """Robots that collect, 100 steps each before every 300 updates."""
    seeds: int = 2
    cases: tuple[str, ...] = ()
    """Only these; all by default."""
    folder: Path = Path("runs/teacher_ablation")
    quick: bool = False
    """Two cases, one seed, 300 updates: shows that it works, not what is better."""
    json: JsonFile | None = None
    """Write the rows here too."""


def run_case(name: str, arguments: Arguments, *, updates: int, seed: int) -> dict[str, float]:
    """Train one case from scratch, or read what an earlier call left; a run that broke down says so."""
    changes = _CASES[name]
    run = f"{Path(arguments.task).stem}_{name.replace(' ', '_')}_{arguments.num_envs}_{updates}_{seed}"
    folder = RunFolder(arguments.folder / run)
    summary = folder.path / "summary.json"
    if not summary.is_file():
        shutil.rmtree(folder.path, ignore_errors=True)
        config = TeacherConfig(
            task=arguments.task,
            backend="native",
            seed=seed,
            num_envs=arguments.num_envs,
            updates=updates,
            eval_every_rounds=10_000,
            checkpoint_every_rounds=10_000,
            network=_BASE.model_copy(update=changes.get("network", {})),
            learner=LearnerConfig(**changes.get("learner", {})),
            **changes.get("run", {}),
        )
        try:
            Trainer(config, folder).train()
        except ShoalError as error:
            print(f"{name}, seed {seed}: {error}")
            return dict.fromkeys(_SHOWN, math.nan)
    rows = folder.read_metrics()
    result: dict[str, float] = json.loads(summary.read_text())
    # The first round of updates includes compilation.
    return result | {"update_ms": 1e3 * float(np.median([row["update_s"] for row in rows])) / 300}


def main() -> None:
    """Run all cases, print the table, write JSON."""
    arguments = tyro.cli(Arguments)
    names = list(arguments.cases or _CASES)[: 2 if arguments.quick else None]
    updates, seeds = (300, 1) if arguments.quick else (arguments.updates, arguments.seeds)
    rows: list[dict[str, Any]] = []
    for name in names:
        runs = [run_case(name, arguments, updates=updates, seed=seed) for seed in range(seeds)]
        rows.append({"case": name, **{key: float(np.mean([run[key] for run in runs])) for key in _SHOWN}})
        rows[-1]["success_fine_by_seed"] = [run["success_fine"] for run in runs]
    table = Table(
        "case",
        "coarse",
        "fine",
        "time at goal",
        "position, mm",
        "angle, deg",
        "ms an update",
        title=f"{arguments.task}, {updates} updates, {seeds} seeds",
    )
    for row in rows:
        table.add_row(
            str(row["case"]),
            f"{row['success_coarse']:.1%}",
            f"{row['success_fine']:.1%}",
            f"{row['time_at_goal']:.1%}",
            f"{1e3 * row['position_error_m']:.1f}",
            f"{row['angle_error_deg']:.1f}",
            f"{row['update_ms']:.1f}",
        )
    Console().print(table)
    if arguments.json:
        write_json(
            arguments.json,
            {
                "machine": machine(),
                "task": arguments.task,
                "num_envs": arguments.num_envs,
                "updates": updates,
                "rows": rows,
            },
        )


if __name__ == "__main__":
    with command_line():
        main()
