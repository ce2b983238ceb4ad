"""What depth does to learning: the same short run at every depth and block design, on the smallest robot there is.

    python -m benchmarks.depth.after_training [--depths 4 1024] [--designs scaled] [--quick] [--json PATH]

Actor and both encoders have the given depth. The task is a two-joint arm (benchmarks/tasks/planar_reach.yaml), the
networks are narrow, and every depth gets the same environment steps and updates. Prints success on held-out goals,
saturation, the trunk's scale and spread across inputs, gradients by block and the embeddings' effective rank after
the last update, and draws success against updates. Finished runs are kept in `--folder`; interrupted ones resume.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.machine import write_numbers
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.contract.interface import goal_vector, observe
from sim2real.pages import save_figure
from teacher.config import LearnerConfig, NetworkConfig, TeacherConfig
from teacher.networks import BlockDesign
from teacher.run.folder import RunFolder
from teacher.study.runner import trained
from teacher.trained import load_teacher

TASK = Path(__file__).parents[1] / "tasks" / "planar_reach.yaml"
_SHOWN = ("success_coarse", "success_fine", "saturation", "trunk_rms", "input_spread", "phi_effective_rank")


@dataclass(frozen=True)
class Arguments:
    """Train networks of several depths and designs."""

    depths: tuple[int, ...] = (4, 16, 64, 256, 1024)
    designs: tuple[BlockDesign, ...] = get_args(BlockDesign)
    width: int = 16
    updates: int = 1500
    learning_rate: float = 5e-4
    seeds: int = 1
    folder: Path = Path("runs/depth_after_training")
    quick: bool = False
    """Depths 4 and 64 of the default design, 200 updates: shows that it works, not what depth does."""
    json: JsonFile | None = None
    """Write rows and curves here too."""
    plot: Path | None = None
    """Draw success against updates here, as a PNG."""


def settings(design: BlockDesign, depth: int, seed: int, arguments: Arguments, updates: int) -> TeacherConfig:
    """The run of one cell."""
    rate = arguments.learning_rate
    return TeacherConfig(
        task=str(TASK),
        backend="native",
        seed=seed,
        num_envs=32,
        rollout_steps=50,
        updates_per_rollout=100,
        updates=updates,
        prefill_rollouts=4,
        eval_every_rounds=1,
        eval_envs=256,
        checkpoint_every_rounds=5,
        network=NetworkConfig(
            actor_depth=depth, critic_depth=depth, width=arguments.width, embedding_size=16, design=design
        ),
        learner=LearnerConfig(
            batch_size=128, actor_learning_rate=rate, critic_learning_rate=rate, alpha_learning_rate=rate
        ),
    )


def run_cell(design: BlockDesign, depth: int, seed: int, arguments: Arguments, updates: int) -> dict[str, Any]:
    """Train one cell, or resume or read what an earlier call left; returns its row and its curve."""
    path = arguments.folder / f"{design}_{depth}_{arguments.width}_{arguments.learning_rate:g}_{updates}_{seed}"
    folder = RunFolder(path)
    trained(settings(design, depth, seed, arguments, updates), folder)
    summary, rows = json.loads((path / "summary.json").read_text()), folder.read_metrics()
    last = rows[-1]
    names = ("saturation", "actor_gradient_first_block", "actor_gradient_last_block", "phi_effective_rank")
    return {
        "design": design,
        "depth": depth,
        "seed": seed,
        "success_coarse": summary["success_coarse"],
        "success_fine": summary["success_fine"],
        **{name: last[name] for name in names},
        **trunk_statistics(path),
        "parameters": summary["parameters"],
        "seconds": sum(row["update_s"] + row["collect_s"] for row in rows),
        "curve": [[row["updates"], row["success_coarse"]] for row in rows],
    }


def trunk_statistics(run: Path) -> dict[str, float]:
    """RMS of the trained actor's features and their spread across inputs, on starts and goals of the task."""
    from sim2real.backends.native import NativeEnvironment

    loaded = load_teacher(run)
    env = NativeEnvironment(loaded.task, num_envs=256, seed=5)
    observation = observe(np, loaded.contract, env.readings()).astype(np.float32)
    goal = goal_vector(np, loaded.contract, env.goals()).astype(np.float32)
    features = np.asarray(loaded.networks.act(loaded.actor, observation, goal)[2])
    return {
        "trunk_rms": float(np.sqrt(np.mean(features**2))),
        "input_spread": float(features.std(axis=0).mean()),
    }


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Success against updates, one panel for each design, one line for each depth."""
    import matplotlib.pyplot as plt

    designs = list(dict.fromkeys(row["design"] for row in rows))
    figure, axes = plt.subplots(
        1, len(designs), figsize=(3.4 * len(designs), 3.2), sharey=True, squeeze=False, layout="constrained"
    )
    depths = sorted({row["depth"] for row in rows})
    colours = dict(zip(depths, plt.get_cmap("viridis")(np.linspace(0.9, 0.1, len(depths))), strict=True))
    for axis, design in zip(axes[0], designs, strict=True):
        for row in (row for row in rows if row["design"] == design):
            axis.plot(*np.array(row["curve"]).T, color=colours[row["depth"]], label=str(row["depth"]))
        axis.set(title=design, xlabel="updates", ylim=(0, 1.02))
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("success, coarse")
    axes[0, -1].legend(title="depth", fontsize="small")
    save_figure(figure, path)


def main() -> None:
    """Print the table, write JSON and picture."""
    arguments = tyro.cli(Arguments, description=__doc__)
    depths, designs, updates = arguments.depths, arguments.designs, arguments.updates
    if arguments.quick:
        depths, designs, updates = (4, 64), ("scaled",), 200
    rows = [
        run_cell(design, depth, seed, arguments, updates)
        for depth in depths
        for design in designs
        for seed in range(arguments.seeds)
    ]
    title = f"after {updates} updates, width {arguments.width}"
    table = Table("design", "depth", "seed", *_SHOWN, "gradient first/last", "seconds", title=title)
    for row in rows:
        ratio = row["actor_gradient_first_block"] / max(row["actor_gradient_last_block"], 1e-30)
        shown = [f"{row[name]:.3g}" for name in _SHOWN]
        table.add_row(
            row["design"], str(row["depth"]), str(row["seed"]), *shown, f"{ratio:.2g}", f"{row['seconds']:.0f}"
        )
    Console().print(table)
    write_numbers(arguments.json, {"updates": updates, "rows": rows})
    if arguments.plot:
        draw(rows, arguments.plot)


if __name__ == "__main__":
    with command_line():
        main()
