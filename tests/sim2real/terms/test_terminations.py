"""Every kind of termination: over where it says, in NumPy and JAX alike."""

from __future__ import annotations

import re
from typing import Any

import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from sim2real.errors import ShoalError
from sim2real.tasks.task import Task, load_task
from sim2real.terms import Simulated, Termination, read_term
from sim2real.terms.scene import Stacked


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task("quadruped_walk")


def standing(task: Task, *, place: Any = (0.0, 0.0), height: float = 0.286, tilt_deg: float = 0.0) -> mujoco.MjData:
    data = mujoco.MjData(task.model)
    half = np.radians(tilt_deg) / 2
    data.qpos[:] = task.home.qpos
    data.qpos[:7] = [*place, height, np.cos(half), np.sin(half), 0, 0]
    mujoco.mj_forward(task.model, data)
    return data


CASES: dict[str, tuple[dict[str, Any], list[dict[str, Any]], list[bool]]] = {
    "height": (
        {"kind": "height", "of": "base", "min_m": 0.2, "max_m": 0.4},
        [{}, {"height": 0.19}, {"height": 0.5}],
        [False, True, True],
    ),
    "tilt": (
        {"kind": "tilt", "of": "imu", "max_deg": 30},
        [{}, {"tilt_deg": 29}, {"tilt_deg": -31}, {"tilt_deg": 170}],
        [False, False, True, True],
    ),
    "left_map": (
        {"kind": "left_map", "of": "base", "min_m": [-1, -2], "max_m": [1, 2]},
        [{}, {"place": (0.9, -1.9)}, {"place": (1.1, 0)}, {"place": (-1.1, 0)}, {"place": (0, 2.1)}],
        [False, False, True, True, True],
    ),
    "contact": (
        {"kind": "contact", "sensor": "front_left_contact", "more_than": 1.0},
        [{"height": 0.5}, {"height": 0.28}],
        [False, True],
    ),
}


class _InJax:
    def __init__(self, rows: list[mujoco.MjData]) -> None:
        self._fields = Stacked(rows)

    def __getattr__(self, name: str) -> Any:
        return jnp.asarray(getattr(self._fields, name))


@pytest.mark.parametrize("case", CASES)
def test_episodes_are_over_where_it_says(case: str, task: Task) -> None:
    written, states, expected = CASES[case]
    term: Termination = read_term(Termination, written)  # type: ignore[type-abstract]
    term.require(task.scene)
    rows = [standing(task, **state) for state in states]
    sim = task.scene.simulated(rows)
    assert term.over(np, sim).tolist() == expected
    assert term.over(jnp, Simulated(task.scene, _InJax(rows), sim.target)).tolist() == expected


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (
            {"kind": "left_map", "of": "base", "min_m": [1, 0], "max_m": [0, 1]},
            "left_map.min_m (1.0, 0.0) must be",
        ),
        ({"kind": "left_map", "of": "bas", "min_m": [0, 0], "max_m": [1, 1]}, "no site and no body 'bas'"),
        ({"kind": "contact", "sensor": "bumper"}, "contact.sensor: the MJCF has no sensor 'bumper'"),
    ],
)
def test_what_the_model_lacks_is_refused(written: dict[str, Any], said: str, task: Task) -> None:
    term: Termination = read_term(Termination, written)  # type: ignore[type-abstract]
    with pytest.raises(ShoalError, match=re.escape(said)):
        term.require(task.scene)
