"""Mazes from text: walls, starts and goals are where the text has them, and nobody is sent into a wall."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from runtime.goals.messages import GoalPlanar, GoalRefused
from runtime.goals.resolve import validate_goal
from sim2real.backends.native import NativeEnvironment
from sim2real.contract import Contract
from sim2real.errors import ShoalError
from sim2real.robots.servos import load_robot, robot_spec
from sim2real.tasks.goal_pool import sample_goal_pool
from sim2real.tasks.shipped import task_names
from sim2real.tasks.task import load_task
from sim2real.world.map import Map

MAZES = [name for name in task_names() if name.endswith("maze")]


def _map(layout: str, **fields: Any) -> Map:
    return Map.model_validate({"cell_m": 2.0, "layout": layout, **fields})


@st.composite
def layouts(draw: st.DrawFn) -> Map:
    rows, columns = draw(st.integers(1, 7)), draw(st.integers(2, 7))
    letters = draw(st.lists(st.sampled_from("#.S"), min_size=rows * columns, max_size=rows * columns))
    letters[-2:] = "SG"
    return _map("\n".join("".join(letters[i * columns : (i + 1) * columns]) for i in range(rows)))


@given(layouts(), st.integers(0, 2**32 - 1))
def test_walls_fill_what_is_not_free_and_nothing_else(maze: Map, seed: int) -> None:
    rows, columns = len(maze.layout), len(maze.layout[0])
    low, high = (np.array(maze.free).min(axis=0), np.array(maze.free).max(axis=0))
    points = np.random.default_rng(seed).uniform(low - 3, high + 3, (200, 2))
    middles, halves = (
        np.array([getattr(w, f)[:2] for w in maze.walls()]).reshape(-1, 2) for f in ("middle", "half_size")
    )
    inside = (np.abs(points[:, None] - middles) < halves).all(axis=-1).sum(axis=1)
    assert inside.max(initial=0) <= 1  # walls do not overlap
    corner = -maze.cell_m * (np.array(_index(maze, "S")) + 0.5)
    on_the_map = ((points > corner) & (points < corner + maze.cell_m * np.array([rows, columns]))).all(axis=1)
    np.testing.assert_array_equal(maze.is_free(points), on_the_map & (inside == 0))


def _index(maze: Map, letter: str) -> tuple[int, int]:
    return next((row, line.index(letter)) for row, line in enumerate(maze.layout) if letter in line)


@pytest.mark.parametrize("name", MAZES)
def test_a_maze_starts_at_s_asks_for_g_and_judges_by_its_own_layout(name: str) -> None:
    task = load_task(name)
    assert task.config.map is not None
    maze = task.config.map
    for judged in (task, task.for_evaluation):
        assert judged.config.map is not None
        pool = sample_goal_pool(judged, size=200, seed=0)
        cells = judged.config.map.cells("G")
        away = np.linalg.norm(pool.goal[:, None] - cells, axis=-1)
        assert away.min(axis=1).max() < 1e-6
        assert len(np.unique(away.argmin(axis=1))) > 0.8 * len(cells)
        assert np.abs(pool.start[:, :2]).max() <= 0.1
    if maze.evaluation is not None:
        assert len(task.for_evaluation.contract.goal.cells) < len(task.contract.goal.cells)  # type: ignore[attr-defined]
        assert _walls(task.for_evaluation.model) == _walls(task.model)


def _walls(model: mujoco.MjModel) -> set[tuple[float, ...]]:
    geoms = [model.geom(i) for i in range(model.ngeom) if model.geom(i).name.startswith("wall_")]
    return {(*geom.pos, *geom.size) for geom in geoms}


def test_a_wall_stops_a_robot() -> None:
    task = load_task("ant_u4_maze")
    env = NativeEnvironment(task, num_envs=1, seed=0, pool=sample_goal_pool(task, size=5, seed=0))
    model, data = task.model, mujoco.MjData(task.model)
    data.qpos[:] = env.pool.start[0]
    data.qvel[1] = 8.0  # towards the wall at y = 2
    for _ in range(200):
        mujoco.mj_step(model, data)
        assert data.qpos[1] < 2.0
    assert data.qpos[1] > 0.5


@pytest.mark.parametrize("name", ["ant", "humanoid", "mobile_base", "mobile_base_maze", "quadruped_walk"])
def test_walls_touch_every_robot_whichever_half_of_a_contact_its_shapes_are(name: str) -> None:
    """An ant's shapes say what they collide with; those of a quadruped, what collides with them."""
    task = load_task(name)
    model = robot_spec(task.mjcf_path, task.config.robot.servos(), tool=None, map=_map("###\n#S#\n#G#\n###")).compile()
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, 0)
    data.qpos[1] = 1.0  # where the wall begins
    mujoco.mj_forward(model, data)
    touching = {model.geom(geom).name for contact in data.contact for geom in contact.geom}
    assert any(geom.startswith("wall_") for geom in touching)


def test_the_served_robot_stands_in_the_same_maze_and_goals_in_walls_are_refused() -> None:
    task = load_task("ant_u4_maze")
    contract = Contract.model_validate_json(task.contract.model_dump_json())
    assert contract.digest == task.contract.digest
    assert _walls(load_robot(task.mjcf_path, contract.robot, contract.map)) == _walls(task.model)
    free = validate_goal(contract, GoalPlanar(planar=(12.0, 0.0)), time.time())
    assert free.request == (12.0, 0.0)
    with pytest.raises(GoalRefused, match=r"\(4, 4\) m lies in a wall"):
        validate_goal(contract, GoalPlanar(planar=(4.0, 4.0)), time.time())


def test_contracts_without_a_map_are_what_they_were() -> None:
    assert "map" not in load_task("ant").contract.model_dump()


@pytest.mark.parametrize(
    ("layout", "fields", "said"),
    [
        ("###\n#SG\n##", {}, "lines must all be as long"),
        ("#SX#", {}, "'X' means nothing"),
        ("#S.#", {}, "no goal"),
        ("#.G#", {}, "no start"),
        ("#SG#", {"evaluation": "#S##"}, "no goal"),
        ("#S #", {}, "' ' means nothing"),
        ("SG#G", {}, "no way leads from an S to the G in line 1, character 4"),
        ("#SG.#", {"cell_m": 1e300}, "cell_m"),
        ("#SG.#", {"cell_m": 1e-3}, "cell_m"),
        ("#SG.#", {"evaluation": "#SG##"}, "its walls are not those"),
        ("#SG.#", {"evaluation": "#GS.#"}, "first S"),
        ("#SG#", {"cell_m": 0.0}, "cell_m"),
    ],
)
def test_a_map_that_is_none_is_refused(layout: str, fields: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    maze = {"cell_m": 2.0, "layout": layout} | fields
    path.write_text(yaml.safe_dump({"extends": "ant_u4_maze", "name": "mine", "map": maze}))
    with pytest.raises(ShoalError, match=said) as caught:
        load_task(path)
    assert "\n" not in str(caught.value)


def test_goals_of_an_annulus_lie_in_it_and_clients_may_ask_for_all_within_its_circle() -> None:
    task = load_task("humanoid")
    goal = sample_goal_pool(task, size=2000, seed=0).goal
    distance = np.linalg.norm(goal, axis=1)
    np.testing.assert_allclose(np.histogram(distance, 4, (1.0, 5.0))[0], 500, atol=100)
    assert np.histogram(np.arctan2(goal[:, 1], goal[:, 0]), 4, (-np.pi, np.pi))[0].min() > 400
    for place in ((5.0, 0.0), (0.0, -5.0), (0.1, 0.1)):
        assert validate_goal(task.contract, GoalPlanar(planar=place), time.time()).request == place
    with pytest.raises(GoalRefused, match="workspace"):
        validate_goal(task.contract, GoalPlanar(planar=(5.1, 0.0)), time.time())


@pytest.mark.parametrize("kind", ["planar_position", "planar_annulus"])
def test_goals_that_would_lie_in_walls_are_refused(kind: str, tmp_path: Path) -> None:
    box = {"position_min_m": [-5, -5], "position_max_m": [5, 5]} if kind == "planar_position" else {"farthest_m": 5}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"extends": "ant_u4_maze", "name": "mine", "goal": {"kind": kind, **box}}))
    with pytest.raises(ShoalError, match="drawn in the walls"):
        load_task(path).contract  # noqa: B018 - the contract is built on first use


@pytest.mark.parametrize("term", ["goal", "resets"])
def test_what_needs_a_map_says_so(term: str, tmp_path: Path) -> None:
    fields = {
        "goal": {"goal": {"kind": "map_position"}},
        "resets": {"resets": [{"kind": "map_cell", "body": "torso"}]},
    }[term]
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"extends": "ant", "name": "mine", **fields}))
    with pytest.raises(ShoalError, match="needs the task's map"):
        load_task(path).contract  # noqa: B018 - the contract is built on first use
