"""Which random starts a task keeps, and why not the others."""

from __future__ import annotations

import mujoco
import numpy as np
from rich.console import Console
from rich.table import Table

from sim2real.errors import ShoalError
from sim2real.robots.kinematics import Addresses
from sim2real.tasks.goal_pool import GoalPool, StartSurvey, sample_goal_pool, survey_starts
from sim2real.tasks.task import Task
from sim2real.world.contacts import HomeContacts

_TRIES = 500
_FEW = 0.2
_SHOWN = 5


def starts(task: Task, out: Console, *, samples: int, seed: int) -> tuple[GoalPool | None, list[str]]:
    """Draw starts and postures; a pool of starts and goals, and the problem where too few starts are left."""
    known = HomeContacts.of(task.model, task.home.qpos).names(task.model)
    if known:
        out.print(f"touch at home already, which counts against no start: {'; '.join(known)}")
    survey = survey_starts(task, tries=_TRIES, seed=seed)
    _print(survey, out)
    try:
        pool = sample_goal_pool(task, size=min(samples, _TRIES), seed=seed)
    except ShoalError as error:
        return None, [str(error).rstrip(".")]
    low, high = pool.goal.min(axis=0), pool.goal.max(axis=0)
    out.print(f"goals reach from {_numbers(low)} to {_numbers(high)}")
    collides = _random_poses(task, samples, seed)
    out.print(f"of {samples} joint positions over the full limits, {collides:.0%} touch themselves or the floor")
    return pool, []


def _print(survey: StartSurvey, out: Console) -> None:
    share = survey.kept / survey.tried
    few = "; training draws again until it has enough" if share < _FEW else ""
    out.print(f"of {survey.tried} random starts, {share:.0%} are kept{few}")
    refused = {
        "refused by a reset (kind inside, say)": survey.resets,
        "what they achieve is outside the goal's bounds": survey.goal,
        "an equality is torn, which closes a chain of joints": survey.ties,
        "something touches": survey.contacts,
    }
    if not any(refused.values()):
        return
    table = Table("refused starts", "share")
    for why, count in refused.items():
        table.add_row(why, f"{count / survey.tried:.0%}")
    for pair, count in survey.touching[:_SHOWN]:
        table.add_row(f"  {pair}", f"{count / survey.tried:.0%}")
    if len(survey.touching) > _SHOWN:
        table.add_row(f"  and {len(survey.touching) - _SHOWN} pairs more", "")
    out.print(table)


def _random_poses(task: Task, samples: int, seed: int) -> float:
    """Share of joint positions, uniform over the limits, that collide."""
    model, robot = task.model, task.contract.robot
    addresses, rng = Addresses.of(model, robot), np.random.default_rng(seed)
    data, known = addresses.home_data(model), HomeContacts.of(model, addresses.rest_qpos)
    low = np.array([joint.position_min for joint in robot.joints])
    high = np.array([joint.position_max for joint in robot.joints])
    collides = 0
    for _ in range(samples):
        addresses.place(data.qpos, rng.uniform(low, high))
        mujoco.mj_kinematics(model, data)
        mujoco.mj_collision(model, data)
        collides += bool(known.others(data))
    return collides / samples


def _numbers(request: np.ndarray) -> str:
    return "(" + ", ".join(f"{value:.2f}" for value in request) + ")"
