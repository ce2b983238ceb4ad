"""`sim2real gap`: a log, or another simulator, against the model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from sim2real.commands.outputs import OutputPath
from sim2real.commands.shared import log_of
from sim2real.contract import require_same_interface
from sim2real.errors import ShoalError
from sim2real.evaluation.onnx_policy import OnnxPolicy
from sim2real.files import write_json, write_text
from sim2real.gap.closed_loop import NativeBody, run_policy
from sim2real.gap.open_loop import compare
from sim2real.gap.report import Gap
from sim2real.gap.sources import from_franka, from_mjx, from_native, random_goals
from sim2real.logs.log import Log
from sim2real.progress import Progress
from sim2real.robots.mjcf import load_mjcf
from sim2real.tasks.task import Task, load_task

Against = Literal["native", "mjx", "franka"]


def gap(
    *,
    task: str,
    log: Path | None = None,
    against: Against | None = None,
    model: Path | None = None,
    mjcf: Path | None = None,
    host: str = "",
    goals: int = 10,
    seed: int = 0,
    output: OutputPath = Path("gap"),
    quiet: bool = False,
) -> None:
    """Measure what lies between a log and the model: open loop on its commands, closed loop with the policy.

    Args:
        task: a shipped task or a task's .yaml; its MJCF is the model.
        log: a recording of runtime serve or runtime play.
        against: instead of a recording, run the policy in native MuJoCo, in MJX, or on a Franka and compare that.
        model: the policy's .onnx, for the closed loop; needed with --against.
        mjcf: another MJCF of the robot, with --against native.
        host: address of the Franka, with --against franka.
        goals: random goals to give, with --against.
        seed: of the goals.
        output: folder for gap.html and gap.json.
        quiet: no progress, only the result.
    """
    loaded = load_task(task)
    if (log is None) == (against is None):
        raise ShoalError("gap: give either --log or --against.")
    policy = _policy(model, loaded) if model is not None else None
    with Progress("gap", to=sys.stderr, quiet=quiet) as progress:
        progress.doing("measuring")
        measured = log_of(log, loaded) if log else _made(against, loaded, policy, model, mjcf, host, goals, seed)
        progress.doing("simulating")
        stretch = max(measured.segments(), key=len, default=None)
        if stretch is None:
            raise ShoalError("log: no stretch of a second or more without a gap; record longer.")
        report = Gap(compare(stretch, loaded.model), measured, _closed_loop(measured, stretch, loaded, policy))
    write_json(output / "gap.json", report.as_dict())
    write_text(output / "gap.html", report.page())
    for sentence in report.sentences():
        print(sentence)
    if len(stretch) < len(measured):
        print(f"note: open loop over the longest stretch without a gap, {len(stretch)} of {len(measured)} ticks.")
    print(f"written: {output / 'gap.html'}, {output / 'gap.json'}")


def _policy(path: Path, task: Task) -> OnnxPolicy:
    policy = OnnxPolicy(path, batch=1)
    require_same_interface(
        policy.contract, task.contract, left_name=f"policy {path.name}", right_name=f"task {task.config.name}"
    )
    return policy


def _made(
    against: Against | None,
    task: Task,
    policy: OnnxPolicy | None,
    path: Path | None,
    mjcf: Path | None,
    host: str,
    count: int,
    seed: int,
) -> Log:
    if policy is None or path is None:
        raise ShoalError("gap: --against needs --model, the policy to run there.")
    if count < 1:
        raise ShoalError(f"--goals: must be at least 1, got {count}.")
    given = random_goals(task, count, seed=seed)
    match against:
        case "mjx":
            return from_mjx(task, policy, given)
        case "franka":
            if not host:
                raise ShoalError("--host: give the address of the robot's control box, or of franky-sim.")
            return from_franka(task.contract, path, given, host=host)
        case _:
            other = load_mjcf(mjcf) if mjcf else task.model
            other.opt.timestep = task.contract.timing.physics_dt_s
            return from_native(task, policy, given, model=other)


def _closed_loop(measured: Log, stretch: Log, task: Task, policy: OnnxPolicy | None) -> Log | None:
    """The policy in the model from where the stretch began, on the goals given during it."""
    begin, end = stretch.time_s[0], stretch.time_s[-1]
    # A goal given between two ticks is seen by the later one.
    given = [goal for goal in measured.goals if begin - 1.0 <= goal.time_s <= end]
    if policy is None or not given:
        return None
    seen = {name: value[0] for name, value in stretch.others.items()}
    body = NativeBody(task.model, task.contract, stretch.joint_position[0], seen)
    return run_policy(
        policy,
        body,
        task.model,
        given,
        float(end - begin) + task.contract.timing.control_dt_s,
        source="model",
        begin_s=float(begin),
    )
