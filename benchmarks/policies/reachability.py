"""Is the reachability estimate of a policy file right? Reliability diagram, calibration error and AUROC.

    python -m benchmarks.policies.reachability models/franka_pose.onnx [--episodes 4096] [--quick] [--json PATH]

A quarter of the goals each, on starts that training never saw, in native MuJoCo:

    reachable      tool poses of arms within all limits, in the goal box, free of collisions
    unreachable    nobody asked: any orientation, a box 1.4 times the goal box
    blocked        tool poses of arms that touch themselves or the floor
    beyond limits  tool poses of arms with a joint up to 0.6 rad beyond its limit

Some goals of the last three can be reached with another posture. Nothing is assumed: an episode's label is whether the
tool held the goal (coarse tolerance) at the end of it. `start` judges the first tick alone, which is what gates a goal
before the arm moves; `all` judges every tick.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.machine import write_numbers
from benchmarks.policies.onnx_evaluation import HELD_OUT_SEED, Goals, run_episode
from runtime.inference.policy import Policy
from sim2real.backends.native import NativeEnvironment
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.contract.interface import request_size
from sim2real.contract.policy_file import REACHABILITY_OUTPUT, command_output
from sim2real.evaluation.success import episode_errors
from sim2real.pages import save_figure
from sim2real.robots.kinematics import Addresses
from sim2real.tasks.goal_pool import sample_goal_pool
from sim2real.tasks.task import Task, load_task
from student.distillation.reachability import auroc, expected_calibration_error, reliability

KINDS = ("reachable", "unreachable", "blocked", "beyond limits")
_BEYOND_RAD = 0.6
_BATCH = 512


@dataclass(frozen=True)
class Arguments:
    """Judge the reachability output of policy files."""

    files: tyro.conf.Positional[tuple[Path, ...]] = (Path("models/franka_pose.onnx"), Path("models/franka_reach.onnx"))
    episodes: int = 4096
    seed: int = 0
    quick: bool = False
    """256 episodes."""
    json: JsonFile | None = None
    """Write the rows here too."""
    plot: Path | None = None
    """Draw the reliability diagrams here, as a PNG."""


def make_goals(task: Task, kind: str, count: int, rng: np.random.Generator) -> Goals:
    """Goals of one kind; see the module."""
    contract = task.contract
    match kind:
        case "reachable":
            pool = sample_goal_pool(task, size=count, seed=int(rng.integers(2**31)))
            return Goals(pool.goal)
        case "unreachable":
            shape = (count, request_size(contract))
            return Goals(contract.goal.between(np, contract, rng.random(shape), rng.normal(size=shape), grown=1.4))
        case "blocked":
            return _tool_poses(task, _within_limits(task, rng), count, lambda data: data.ncon > 0)
        case "beyond limits":
            return _tool_poses(task, _one_joint_beyond(task, rng), count, lambda data: data.ncon == 0)
        case other:
            raise ValueError(other)


def _within_limits(task: Task, rng: np.random.Generator) -> Callable[[], np.ndarray]:
    low, high = _limits(task)
    return lambda: rng.uniform(low, high)


def _one_joint_beyond(task: Task, rng: np.random.Generator) -> Callable[[], np.ndarray]:
    low, high = _limits(task)

    def draw() -> np.ndarray:
        q, joint = rng.uniform(low, high), rng.integers(low.size)
        beyond = rng.uniform(0.05, _BEYOND_RAD)
        q[joint] = low[joint] - beyond if rng.random() < 0.5 else high[joint] + beyond
        return np.asarray(q)

    return draw


def _limits(task: Task) -> tuple[np.ndarray, np.ndarray]:
    joints = task.contract.robot.joints
    return np.array([j.position_min for j in joints]), np.array([j.position_max for j in joints])


def _tool_poses(task: Task, draw: Callable[[], np.ndarray], count: int, keep: Callable[[mujoco.MjData], bool]) -> Goals:
    """Tool poses in the goal box of drawn joint positions `[J]` rad that `keep` wants."""
    model, contract = task.model, task.contract
    low, high = np.array(contract.goal.position_min_m), np.array(contract.goal.position_max_m)
    addresses = Addresses.of(model, contract.robot)
    data = addresses.home_data(model)
    kept: list[np.ndarray] = []
    readings = [contract.reading(part.reading) for part in contract.goal.parts()]
    while len(kept) < count:
        addresses.place(data.qpos, draw())
        mujoco.mj_kinematics(model, data)
        position = data.site_xpos[addresses.site]
        if (position < low).any() or (position > high).any():
            continue
        mujoco.mj_collision(model, data)
        if keep(data):
            kept.append(contract.goal.achieved(np, task.scene.simulated([data]).values(np, readings))[0])
    return Goals(np.stack(kept))


def outcomes(policy: Policy, task: Task, goals: Goals, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Estimates `[T, N]` along one episode to each goal, and which were reached, `[N]`."""
    count = len(goals.position)
    starts = sample_goal_pool(task, size=count, seed=seed)
    env = NativeEnvironment(task, num_envs=count, seed=seed, pool=starts)
    env.place(np.arange(count), starts.start, goals.request)
    estimates: list[np.ndarray] = []

    def infer(inputs: dict[str, np.ndarray]) -> np.ndarray:
        outputs = policy.infer(inputs)
        estimates.append(outputs[REACHABILITY_OUTPUT][:, 0])
        return outputs[command_output(policy.contract)]

    reached = episode_errors(task.contract, run_episode(env, infer)).coarse
    return np.stack(estimates), reached


def judge(estimate: np.ndarray, label: np.ndarray) -> dict[str, Any]:
    """Numbers of estimates against labels, equal shapes; no AUROC where all or none were reached."""
    estimate, label = estimate.ravel(), label.ravel().astype(np.float32)
    return {
        "states": estimate.size,
        "reached": float(label.mean()),
        "expected_calibration_error": expected_calibration_error(estimate, label),
        "auroc": auroc(estimate, label) if 0 < label.mean() < 1 else None,
        "reliability": reliability(estimate, label),
    }


def measure(path: Path, episodes: int, seed: int) -> list[dict[str, Any]]:
    """One row for all goals at the start, one for all ticks, then one for each kind at the start."""
    policy = Policy(path)
    task, rng = load_task(policy.contract.task), np.random.default_rng(HELD_OUT_SEED + seed)
    found = {}
    for kind in KINDS:
        goals = make_goals(task, kind, episodes // len(KINDS), rng)
        parts = [
            outcomes(
                policy, task, Goals(*(column[first : first + _BATCH] for column in goals)), int(rng.integers(2**31))
            )
            for first in range(0, len(goals.position), _BATCH)
        ]
        found[kind] = np.concatenate([part[0] for part in parts], 1), np.concatenate([part[1] for part in parts])
    estimate = np.concatenate([pair[0] for pair in found.values()], axis=1)
    label = np.concatenate([pair[1] for pair in found.values()])
    rows = [
        {"goals": "all", "ticks": "start"} | judge(estimate[0], label),
        {"goals": "all", "ticks": "all"} | judge(estimate, np.broadcast_to(label, estimate.shape)),
        *({"goals": kind, "ticks": "start"} | judge(found[kind][0][0], found[kind][1]) for kind in KINDS),
    ]
    return [{"file": path.name} | row for row in rows]


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """One reliability diagram for each file, at the start and over all ticks."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    files = list(dict.fromkeys(row["file"] for row in rows))
    figure, axes = plt.subplots(1, len(files), figsize=(4.4 * len(files), 4.2), squeeze=False, layout="constrained")
    for axis, name in zip(axes[0], files, strict=True):
        axis.plot([0, 1], [0, 1], "--", color="grey", lw=1)
        for row in (row for row in rows if row["file"] == name and row["goals"] == "all"):
            x, y, share = (
                np.array([bin[key] for bin in row["reliability"]]) for key in ("predicted", "observed", "share")
            )
            label = (
                f"{'first tick' if row['ticks'] == 'start' else 'all ticks'}: "
                f"ECE {row['expected_calibration_error']:.3f}, AUROC {row['auroc'] or np.nan:.3f}"
            )
            (line,) = axis.plot(x, y, "o-", lw=1, ms=4, label=label)
            axis.scatter(x, y, s=15 + 300 * share, color=line.get_color(), alpha=0.6)  # by the share of estimates
        axis.set(
            title=name,
            xlabel="estimated P(goal reached)",
            ylabel="share that was reached",
            xlim=(-0.03, 1.03),
            ylim=(-0.03, 1.03),
        )
        axis.grid(alpha=0.3)
        axis.legend(loc="upper left", fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, path)


def main() -> None:
    """Print the table, write JSON, draw."""
    arguments = tyro.cli(Arguments, description=__doc__)
    episodes = 256 if arguments.quick else arguments.episodes
    rows = [row for path in arguments.files for row in measure(path, episodes, arguments.seed)]
    table = Table("file", "goals", "ticks", "estimates", "reached", "ECE", "AUROC", title=f"{episodes} episodes a file")
    for row in rows:
        numbers = (f"{row['states']:,}", f"{row['reached']:.1%}", f"{row['expected_calibration_error']:.3f}")
        table.add_row(
            row["file"], row["goals"], row["ticks"], *numbers, "-" if row["auroc"] is None else f"{row['auroc']:.3f}"
        )
    Console(width=120).print(table)
    write_numbers(arguments.json, {"seed": arguments.seed, "episodes": episodes, "rows": rows})
    if arguments.plot:
        draw(rows, arguments.plot)


if __name__ == "__main__":
    with command_line():
        main()
