"""`sim2real identify` and `sim2real excite`: from a log to parameters and ranges, and from a model to a better log."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from rich.table import Table

from sim2real.commands.outputs import OutputPath
from sim2real.commands.shared import console, log_of
from sim2real.files import write_json, write_text
from sim2real.identification.excitation import Suggestion, suggest, write_trajectory
from sim2real.identification.fit import Identified, Signal
from sim2real.identification.fit import fit as fit_model
from sim2real.identification.parameters import DEFAULT_BOUNDS, Bounds, Kind, Problem, make_problem, require_sysid
from sim2real.identification.ranges import condition_number, justified, limits_of_knowledge
from sim2real.logs.log import Log
from sim2real.progress import Progress
from sim2real.randomisation.config import dump_randomisation, load_randomisation
from sim2real.tasks.task import load_task

_USUAL: tuple[Kind, ...] = ("friction_loss", "servo_stiffness", "servo_damping", "payload_mass", "action_delay")


def identify(
    *,
    log: tuple[Path, ...],
    task: str,
    fit: tuple[Kind, ...] = _USUAL,
    bodies: tuple[str, ...] = (),
    signals: tuple[Signal, ...] = ("joint_position",),
    bounds: Bounds = DEFAULT_BOUNDS,
    base: str = "mild",
    output: OutputPath = Path("identified"),
    quiet: bool = False,
) -> None:
    """Fit parameters of a robot's model to its logs and write the randomisation ranges that the fit justifies.

    Args:
        log: recordings of runtime serve or runtime play.
        task: a shipped task or a task's .yaml, the one the recordings were made for.
        fit: what to fit, for every joint where it belongs to joints.
        bodies: bodies of the MJCF whose mass, centre of mass and inertia to fit as well.
        signals: readings to compare.
        bounds: where to look.
        base: randomisation of everything that was not fitted, a preset or a file.
        output: folder for identification.json and randomisation.yaml.
        quiet: no progress, only the result.
    """
    require_sysid()
    loaded, base_setting = load_task(task), load_randomisation(base)
    logs = [log_of(path, loaded) for path in log]
    problem = make_problem(str(loaded.mjcf_path), loaded.contract, fit, bounds=bounds, bodies=bodies)
    result = _fitted(problem, logs, signals, quiet=quiet)
    setting, reasons = justified(result, base_setting)
    unknown = limits_of_knowledge(result)
    console().print(_table(result))
    for sentence in unknown or ["The log tells all of these apart."]:
        print(sentence)
    for sentence in reasons:
        print(f"randomisation: {sentence}")
    write_text(output / "randomisation.yaml", dump_randomisation(setting))
    summary = _summary(result) | {"unknown": unknown, "reasons": reasons, "logs": [str(path) for path in log]}
    write_json(output / "identification.json", summary)
    print(f"written: {output / 'randomisation.yaml'}, {output / 'identification.json'}")


def _fitted(problem: Problem, logs: list[Log], signals: tuple[Signal, ...], *, quiet: bool) -> Identified:
    with Progress("identify", to=sys.stderr, quiet=quiet) as progress:
        progress.doing("simulating")

        def shown(done: int, total: int, what: str) -> None:
            if done == 0:
                progress.expect(total)
            else:
                progress.advance()
            progress.doing(what)

        stretches = [stretch for one in logs for stretch in one.segments()]
        return fit_model(problem, stretches, signals=signals, progress=shown)


def excite(
    *,
    task: str,
    fit: tuple[Kind, ...] = _USUAL,
    output: OutputPath = Path("excite.csv"),
    duration_s: float = 20.0,
    candidates: int = 60,
    noise_std_rad: float = 1e-3,
    bounds: Bounds = DEFAULT_BOUNDS,
    seed: int = 0,
    quiet: bool = False,
) -> None:
    """Suggest a joint trajectory whose log would tell these parameters apart, within the limits.

    Play it with `runtime play --trajectory excite.csv --model F --robot R --record run.mcap`.

    Args:
        task: a shipped task or a task's .yaml.
        fit: what the log is meant to tell, as for identify.
        output: CSV of joint targets, one row for each control period.
        duration_s: of the trajectory.
        candidates: trajectories to try.
        noise_std_rad: of a joint reading, for the expected intervals.
        bounds: as for identify.
        seed: of the search.
        quiet: no progress, only the result.
    """
    require_sysid()
    loaded = load_task(task)
    problem = make_problem(str(loaded.mjcf_path), loaded.contract, fit, bounds=bounds)
    with Progress("excite", candidates, to=sys.stderr, quiet=quiet) as progress:
        progress.doing("trying trajectories")
        best = suggest(
            problem,
            loaded,
            duration_s=duration_s,
            candidates=candidates,
            seed=seed,
            noise_std_rad=noise_std_rad,
            progress=lambda done, gain: progress.advance(f"information {gain:.3g}"),
        )
    write_trajectory(best.trajectory, output)
    console().print(_expectations(problem, best, title=f"{duration_s:g} s at {noise_std_rad:g} rad"))
    print(
        f"condition number {condition_number(best.information):.3g}, that of the first random trajectory "
        f"{condition_number(best.first_information):.3g}"
    )
    print(f"written: {output}; play it with runtime play --trajectory {output} --model F --robot R --record run.mcap")


def _expectations(problem: Problem, best: Suggestion, *, title: str) -> Table:
    table = Table("quantity", "expected +-", "unit", "of the bounds", title=title)
    for quantity, std in zip(problem.quantities, best.expected_std(), strict=True):
        half = min(2 * std, 1.0)
        table.add_row(quantity.name, f"{half * (quantity.high - quantity.low):.3g}", quantity.unit, f"{half:.1%}")
    return table


def _table(result: Identified) -> Table:
    title = f"{result.samples} readings of {result.duration_s:.0f} s, 95 % intervals"
    table = Table("quantity", "model", "found", "interval", "unit", "of the bounds", title=title)
    for estimate in result.estimates:
        quantity = estimate.quantity
        interval = f"{estimate.low:.4g} to {estimate.high:.4g}"
        share = f"{estimate.share_of_bounds:.1%}"
        table.add_row(quantity.name, f"{quantity.nominal:.4g}", f"{estimate.value:.4g}", interval, quantity.unit, share)
    return table


def _summary(result: Identified) -> dict[str, Any]:
    estimates = [
        {
            "name": e.quantity.name,
            "kind": e.quantity.kind,
            "unit": e.quantity.unit,
            "model": e.quantity.nominal,
            "value": e.value,
            "low": e.low,
            "high": e.high,
            "std": e.std,
            "bounds": [e.quantity.low, e.quantity.high],
        }
        for e in result.estimates
    ]
    return {
        "task": result.problem.contract.task,
        "contract": result.problem.contract.digest,
        "confidence": 0.95,
        "samples": result.samples,
        "duration_s": result.duration_s,
        "signals": list(result.signals),
        "noise_std": result.noise_std.tolist(),
        "correlation_left": result.correlation_left,
        "condition_number": condition_number(result.information),
        "estimates": estimates,
    }
