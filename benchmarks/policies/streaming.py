"""How smoothly an arm follows a hand: poses at 30 Hz, passed through as they come or followed by `GoalStream`'s way.

    python -m benchmarks.policies.streaming [models/franka_reach.onnx] [--hz 30] [--noise-mm 2] [--quick] [--json PATH]

The hand goes round in the middle of the workspace; its poses come with jitter and with noise, as a tracker's do.
Policies run in native MuJoCo at the contract's control rate, each arm on its own part of the way. Jerk is that of the
joints, from their velocities at the control rate: the largest of an arm, the median arm's. Behind is how far the tool
is from where the hand is now.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.machine import machine
from benchmarks.policies.onnx_evaluation import commands_of
from runtime.goals.following import Limits, PoseFollower
from runtime.inference.policy import Policy
from sim2real.backends.native import NativeEnvironment
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.contract.policy_file import input_sizes
from sim2real.files import write_json
from sim2real.tasks.goal_pool import sample_goal_pool
from sim2real.tasks.task import load_task

_SETTLED_S = 2.0
"""What comes before is the way from home to the hand."""
_JITTER = 0.25
"""Of a period."""

Reference = Callable[[int, float], tuple[float, float, float]]
"""`reference(arm, now_s) -> position`, called once per control step."""


@dataclass(frozen=True)
class Arguments:
    """Follow a moving hand."""

    files: tyro.conf.Positional[tuple[Path, ...]] = (Path("models/franka_reach.onnx"), Path("models/franka_pose.onnx"))
    hz: float = 30.0
    noise_mm: float = 2.0
    """Standard deviation of each coordinate."""
    seconds: float = 12.0
    arms: int = 8
    seed: int = 0
    quick: bool = False
    """Two arms, five seconds."""
    json: JsonFile | None = None
    """Write the rows here too."""


def hand(time_s: np.ndarray) -> np.ndarray:
    """Where the hand is, `[..., 3]` m."""
    turn = 0.4 * np.pi * time_s
    x, y, z = 0.07 * np.sin(turn), 0.12 * np.sin(0.7 * turn + 0.3), 0.07 * np.cos(1.3 * turn)
    return np.stack([0.5 + x, y, 0.42 + z], axis=-1)


@dataclass(frozen=True)
class Poses:
    """What a tracker tells of one hand."""

    time_s: np.ndarray
    position: np.ndarray


def tracked(arguments: Arguments, seconds: float, start_s: float, rng: np.random.Generator) -> Poses:
    """Poses with jitter and noise, from the hand's way at `start_s`."""
    period_s = 1 / arguments.hz
    time_s = np.arange(0, seconds, period_s)
    time_s = time_s + rng.uniform(-_JITTER, _JITTER, len(time_s)) * period_s
    time_s[0] = 0.0
    noise = rng.normal(0, 1e-3 * arguments.noise_mm, (len(time_s), 3))
    return Poses(time_s, hand(start_s + time_s) + noise)


def passed_through(hands: list[Poses]) -> Reference:
    """The newest pose as it came."""

    def reference(arm: int, now_s: float) -> tuple[float, float, float]:
        newest = max(0, int(np.searchsorted(hands[arm].time_s, now_s, side="right")) - 1)
        x, y, z = hands[arm].position[newest].tolist()
        return x, y, z

    return reference


def followed(hands: list[Poses]) -> Reference:
    """`PoseFollower`, told every pose when it comes."""
    followers, told = [PoseFollower(Limits()) for _ in hands], [0] * len(hands)

    def reference(arm: int, now_s: float) -> tuple[float, float, float]:
        poses = hands[arm]
        while told[arm] < len(poses.time_s) and poses.time_s[told[arm]] <= now_s:
            x, y, z = poses.position[told[arm]].tolist()
            followers[arm].target((x, y, z), None, float(poses.time_s[told[arm]]))
            told[arm] += 1
        return followers[arm].at(now_s)[0]

    return reference


def drive(path: Path, reference: Reference, *, starts_s: np.ndarray, seconds: float) -> dict[str, float]:
    """Jerk and distance of arms that follow."""
    policy = Policy(path)
    contract, task, arms = policy.contract, load_task(policy.contract.task), len(starts_s)
    pool = sample_goal_pool(task, size=arms, seed=0)
    env = NativeEnvironment(task, num_envs=arms, seed=0, pool=pool)
    env.place(np.arange(arms), np.tile(task.scene.home, (arms, 1)), pool.goal)
    infer, dt_s = commands_of(policy, arms), contract.timing.control_dt_s
    turn = np.tile(np.array(contract.default_orientation_wxyz, np.float32), (arms, 1))
    velocity, behind = [], []
    for step in range(round(seconds / dt_s)):
        now_s = step * dt_s
        place = np.array([reference(arm, now_s) for arm in range(arms)], np.float32)
        named = {name: value.copy() for name, value in env.readings().items()}
        named |= {"goal_position": place, "goal_orientation": turn}
        env.advance(infer({name: named[name] for name in input_sizes(contract)}))
        if now_s > _SETTLED_S:
            truth = env.true_readings()
            velocity.append(truth["joint_velocity"].copy())
            behind.append(np.linalg.norm(truth["end_effector_position"] - hand(starts_s + now_s), axis=-1))
    jerk = np.diff(np.stack(velocity), n=2, axis=0) / dt_s**2
    return {
        "jerk_peak_rad_s3": float(np.median(np.abs(jerk).max(axis=(0, 2)))),
        "jerk_rms_rad_s3": float(np.median(np.sqrt((jerk**2).mean(axis=(0, 2))))),
        "behind_mm": float(1e3 * np.median(behind)),
    }


def measure(path: Path, arguments: Arguments) -> list[dict[str, Any]]:
    """Two rows, passed through and followed, of the same hands."""
    arms, seconds = (2, 5.0) if arguments.quick else (arguments.arms, arguments.seconds)
    rng = np.random.default_rng(arguments.seed)
    starts_s = rng.uniform(0, 10, arms)
    hands = [tracked(arguments, seconds + 1, float(start), rng) for start in starts_s]
    ways = {"passed through": passed_through(hands), "followed": followed(hands)}
    return [
        {"file": path.name, "way": name} | drive(path, way, starts_s=starts_s, seconds=seconds)
        for name, way in ways.items()
    ]


def main(argv: list[str] | None = None) -> None:
    """Entry point of `python -m benchmarks.policies.streaming`."""
    arguments = tyro.cli(Arguments, args=argv, description=__doc__)
    rows = [row for path in arguments.files for row in measure(path, arguments)]
    table = Table("policy", "way", "jerk, peak", "jerk, rms", "behind, mm", title="jerk in rad/s³")
    for row in rows:
        numbers = (f"{row[name]:.0f}" for name in ("jerk_peak_rad_s3", "jerk_rms_rad_s3", "behind_mm"))
        table.add_row(row["file"], row["way"], *numbers)
    Console().print(table)
    if arguments.json:
        setting = {"hz": arguments.hz, "noise_mm": arguments.noise_mm, "seed": arguments.seed}
        write_json(arguments.json, {"machine": machine(), **setting, "rows": rows})


if __name__ == "__main__":
    with command_line():
        main()
