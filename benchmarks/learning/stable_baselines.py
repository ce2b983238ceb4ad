"""Somebody else's learner on our tasks: Stable-Baselines3's SAC with hindsight relabelling, through Gymnasium.

    pip install 'shoal[gym]' stable-baselines3
    python -m benchmarks.learning.stable_baselines [--task franka_reach] [--steps 20000] [--quick] [--json PATH]

Success is that of the last step of an episode, over goals that training never drew. Stable-Baselines3 brings PyTorch,
so neither is among this project's dependencies.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import tyro

import shoal.gym  # noqa: F401  registers the tasks
from benchmarks.machine import machine
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.files import write_json
from sim2real.tasks.goal_pool import EVALUATION_SEED_OFFSET

QUICK = {"steps": 400, "episodes": 8, "learning_starts": 200}


@dataclass(frozen=True)
class Arguments:
    """Train SAC with hindsight experience replay."""

    task: str = "franka_reach"
    steps: int = 20_000
    """Control steps of one robot, with as many updates."""
    episodes: int = 64
    """Of evaluation, before and after."""
    learning_starts: int = 1000
    seed: int = 0
    quick: bool = False
    """Whether it runs at all: 400 steps."""
    json: JsonFile | None = None


def success(model: Any, env: gymnasium.Env[Any, Any], episodes: int) -> float:
    """Share of episodes that end within the coarse tolerance, under the policy's mean."""
    reached = []
    for episode in range(episodes):
        seen, info = env.reset(seed=episode)
        over = False
        while not over:
            action, _ = model.predict(seen, deterministic=True)
            seen, _, terminated, truncated, info = env.step(action)
            over = terminated or truncated
        reached.append(info["is_success"])
    return float(np.mean(reached))


def run(arguments: Arguments) -> dict[str, Any]:
    """Train, and judge before and after."""
    from stable_baselines3 import SAC, HerReplayBuffer

    if arguments.quick:
        arguments = Arguments(**(arguments.__dict__ | QUICK))
    name = f"shoal/{arguments.task}-v0"
    held_out = gymnasium.make(name, pool_size=arguments.episodes, pool_seed=EVALUATION_SEED_OFFSET)
    model = SAC(
        "MultiInputPolicy",
        gymnasium.make(name),
        replay_buffer_class=HerReplayBuffer,
        replay_buffer_kwargs={"n_sampled_goal": 4, "goal_selection_strategy": "future"},
        learning_starts=arguments.learning_starts,
        batch_size=256,
        gamma=0.95,
        learning_rate=1e-3,
        policy_kwargs={"net_arch": [256, 256]},
        seed=arguments.seed,
        device="cpu",
    )
    before = success(model, held_out, arguments.episodes)
    began = time.perf_counter()
    model.learn(arguments.steps, progress_bar=False)
    trained_s = time.perf_counter() - began
    return {
        "task": arguments.task,
        "steps": arguments.steps,
        "seed": arguments.seed,
        "episodes": arguments.episodes,
        "success_before": before,
        "success_after": success(model, held_out, arguments.episodes),
        "trained_s": round(trained_s, 1),
        "machine": machine(),
    }


def main(argv: list[str] | None = None) -> None:
    """Entry point of `python -m benchmarks.learning.stable_baselines`."""
    arguments = tyro.cli(Arguments, args=argv, description=__doc__)
    row = run(arguments)
    print(
        f"{row['task']}: SAC + HER, {row['steps']} steps in {row['trained_s']:.0f} s; within the coarse tolerance at "
        f"the end {row['success_before']:.0%} before, {row['success_after']:.0%} after ({row['episodes']} new goals)"
    )
    if arguments.json:
        write_json(arguments.json, row)


if __name__ == "__main__":
    with command_line():
        main()
