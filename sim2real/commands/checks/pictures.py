"""Pictures of where a task begins and where it is sent: what the tool or the base reaches, starts, and goals."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np

from sim2real.commands.checks.scene import scene
from sim2real.errors import ShoalError
from sim2real.pages import pyplot, save_figure, viser_installed
from sim2real.robots.kinematics import Addresses
from sim2real.tasks.goal_pool import GoalPool
from sim2real.tasks.task import Task

_POSTURES = 2000
_VIEWS = ((0, 1, "from above"), (0, 2, "from the side"), (1, 2, "from the front"))


def pictures(task: Task, pool: GoalPool | None, folder: Path, *, seed: int) -> list[Path]:
    """Write `workspace.png`, `goals.png` and `task.html` into `folder`, as far as there is something to draw.

    The first shows the tool (or the floating base) at random postures over the full limits and at the starts; the
    second shows where goals are, of tasks whose goals are places; the third shows all of it with the robot, in a
    browser, if viser is there to draw it. Returns the files.
    """
    if folder.exists() and not folder.is_dir():
        raise ShoalError(f"--pictures: {folder} is a file; give a folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ShoalError(f"--pictures: cannot make {folder}: {error.strerror}; give a folder to write to.") from error
    rows = np.zeros((0, task.model.nq)) if pool is None else pool.start
    written, starts, postures = [], _places(task, rows), np.zeros((0, 3))
    if starts.size or task.contract.robot.end_effector_frame:
        postures = _places(task, _random_postures(task, seed))
        written.append(_draw(folder / "workspace.png", {"at random postures": postures, "at starts": starts}, None))
    goals = None if pool is None else _goals(task, pool)
    if goals is not None:
        written.append(_draw(folder / "goals.png", {"starts": starts, "goals": goals}, task.contract.goal.box()))
    if not viser_installed():
        return written
    points = {"postures": postures, "starts": starts, "goals": np.zeros((0, 3)) if goals is None else goals}
    return [*written, scene(task, rows, points, task.contract.goal.box(), folder / "task.html")]


def _random_postures(task: Task, seed: int) -> np.ndarray:
    """Joint positions over the full limits, everything else at home, `[P, nq]`."""
    addresses, rng = Addresses.of(task.model, task.contract.robot), np.random.default_rng(seed)
    low = np.array([joint.position_min for joint in task.contract.robot.joints])
    high = np.array([joint.position_max for joint in task.contract.robot.joints])
    found = np.tile(task.home.qpos, (_POSTURES, 1))
    for row in found:
        addresses.place(row, rng.uniform(low, high))
    return found


def _places(task: Task, rows: np.ndarray) -> np.ndarray:
    """Where the tool is at each `qpos`, or the body that carries the joints, `[P, 3]` m in the world."""
    model, data, robot = task.model, mujoco.MjData(task.model), task.contract.robot
    tool = robot.end_effector_frame
    root = model.body_rootid[model.dof_bodyid[Addresses.of(model, robot).coordinates[0].dof[0]]]
    found = np.zeros((len(rows), 3))
    for place, qpos in zip(found, rows, strict=True):
        data.qpos[:] = qpos
        mujoco.mj_kinematics(model, data)
        place[:] = data.xpos[root] if tool is None else data.site(tool).xpos
    return found


def _goals(task: Task, pool: GoalPool) -> np.ndarray | None:
    """Where the first place of each goal is, `[P, 3]` m; None of goals that are no places."""
    contract = task.contract
    for part in contract.goal.parts():
        reading, entries = contract.reading(part.reading), contract.goal.layout(contract).slices[part.input]
        places = [reading.to_pose(row[entries].tolist())[0] for row in pool.goal]
        if places and places[0] is not None:
            return np.array(places, float)
    return None


def _draw(path: Path, points: dict[str, np.ndarray], box: tuple[tuple[float, ...], tuple[float, ...]] | None) -> Path:
    figure, axes = pyplot().subplots(1, len(_VIEWS), figsize=(12, 4.2), layout="constrained")
    for axis, (x, y, title) in zip(axes, _VIEWS, strict=True):
        for name, places in points.items():
            if len(places):
                axis.scatter(places[:, x], places[:, y], s=4, alpha=0.5, label=f"{name} ({len(places)})")
        if box is not None and len(box[0]) > max(x, y):
            (low, high) = box
            corners = np.array([(low[x], low[y]), (high[x], low[y]), (high[x], high[y]), (low[x], high[y])])
            axis.plot(*np.vstack([corners, corners[:1]]).T, color="black", lw=0.8, label="bounds of goals")
        axis.set(title=title, xlabel=f"{'xyz'[x]}, m", ylabel=f"{'xyz'[y]}, m", aspect="equal")
    handles = dict(zip(*reversed(axes[0].get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), fontsize=8, loc="outside lower center", ncols=3)
    save_figure(figure, path)
    return path
