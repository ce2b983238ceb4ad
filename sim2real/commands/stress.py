"""`sim2real stress`: how far from its training a policy file still works."""

from __future__ import annotations

import sys
from pathlib import Path

from sim2real.commands.outputs import JsonFile
from sim2real.errors import ShoalError
from sim2real.evaluation.onnx_policy import OnnxPolicy
from sim2real.files import write_json, write_text
from sim2real.pages import pyplot
from sim2real.progress import Progress
from sim2real.randomisation.config import Randomisation, load_randomisation
from sim2real.stress.config import StressConfig, load_stress
from sim2real.stress.episodes import Stand
from sim2real.stress.points import Kept, decide
from sim2real.stress.report import Stress
from sim2real.stress.search import find_boundary, map_pair
from sim2real.tasks.task import load_task


def stress(
    *,
    model: Path,
    task: str | None = None,
    config: Path | None = None,
    trained: str | None = None,
    json: JsonFile = Path("stress.json"),
    html: Path | None = None,
    seed: int = 0,
    quick: bool = False,
    quiet: bool = False,
) -> None:
    """Stress a policy file: where success falls below 90 %, quantity by quantity; exit status 1 for a no-go.

    Finished points are kept beside the JSON, and a run that was interrupted goes on from there.

    Args:
        model: the policy's .onnx.
        task: a shipped task or a task's .yaml; by default the shipped one that the policy names.
        config: sweeps, pairs, requirements and precision; what it leaves out is as shipped.
        trained: what the policy was trained on, a preset or a file, for comparison; by default what the task declares.
        json: where the numbers go.
        html: where the page goes; by default beside the JSON.
        seed: of starts, goals and robots.
        quick: fewer episodes, coarser boundaries.
        quiet: no progress, only the result.
    """
    if seed < 0:
        raise ShoalError(f"--seed: must be 0 or above, got {seed}.")
    policy, asked = OnnxPolicy(model, batch=1), load_stress(config)
    loaded = load_task(task or policy.contract.task)
    pyplot()  # A missing library is to be known before an hour of episodes.
    asked = asked.quick() if quick else asked
    saw = load_randomisation(trained) if trained else asked.trained or loaded.config.randomisation
    precision = asked.precision
    stand = Stand(model, loaded, seed=seed, episodes=max(precision.episodes_max, precision.pair_episodes))
    report = _measure(stand, asked, saw, json.with_suffix(".points.jsonl"), seed, quiet=quiet)
    page = html or json.with_suffix(".html")
    write_json(json, report.as_dict(), indent=1)
    write_text(page, report.page())
    for sentence in report.sentences():
        print(sentence)
    print(f"written: {page}, {json}")
    if not report.go:
        raise SystemExit(1)


def _measure(
    stand: Stand, asked: StressConfig, trained: Randomisation, points: Path, seed: int, *, quiet: bool
) -> Stress:
    total = len(asked.requirements) + len(asked.sweeps) + len(asked.pairs)
    with Progress("stress", total, to=sys.stderr, quiet=quiet) as progress:
        name = ""

        def flown(episodes: int) -> None:
            progress.doing(f"{name}, {episodes:,} episodes", line=False)

        def begin(what: str) -> None:
            nonlocal name
            name = what
            progress.doing(name)

        run = Kept(stand, points, seed=seed, progress=flown)
        required = []
        for need in asked.requirements:
            begin(need.name)
            required.append((need, decide(run, need.under, need.success, asked.precision)))
            progress.advance()
        boundaries = {}
        for sweep in asked.sweeps:
            begin(sweep.name)
            boundaries[sweep.name] = find_boundary(sweep, asked, run)
            progress.advance()
        maps = []
        for pair in asked.pairs:
            begin(" and ".join(pair))
            first, second = (boundaries[asked.sweep(name).name] for name in pair)
            maps.append(map_pair(first, second, asked, run))
            progress.advance()
    return Stress(
        stand.model.name,
        stand.task.contract,
        asked,
        trained,
        tuple(required),
        tuple(boundaries.values()),
        tuple(maps),
        run.episodes,
    )
