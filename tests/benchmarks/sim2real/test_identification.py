"""The coverage benchmark: rows that say what they should, kept and taken up again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.sim2real.hidden_robot import Truth
from benchmarks.sim2real.identification import KINDS, Arguments, _kept, draw_truth, robot_task, true_value


def test_truth_is_other_than_the_model_and_reproducible() -> None:
    arguments = Arguments()
    task = robot_task("planar")
    first, again, other = (
        draw_truth(task, KINDS["planar"], arguments, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert first.servo_stiffness is not None
    np.testing.assert_array_equal(first.servo_stiffness, again.servo_stiffness)
    assert first.payload_mass_kg != other.payload_mass_kg
    assert first.damping is None  # not among what the planar arm hides
    assert true_value(first, "servo_stiffness", 1, 0.02) == first.servo_stiffness[1]


def test_mean_delay_is_that_of_a_steady_ramp() -> None:
    assert Truth(action_delay_s=0.02).mean_delay_s(0.02) == pytest.approx(0.02, abs=1e-9)
    jittery = Truth(action_delay_s=0.02, action_jitter_s=0.002).mean_delay_s(0.02)
    assert 0.021 < jittery < 0.0215


def test_finished_trials_are_taken_up_again(tmp_path: Path) -> None:
    settings = {"robot": "planar", "trials": 4, "seed": 0}
    path = tmp_path / "rows.json"
    assert _kept(path, settings) == []
    rows = [{"trial": number} for number in range(3)]
    path.write_text(json.dumps({"settings": settings | {"trials": 3}, "rows": rows}))
    assert _kept(path, settings) == rows
    assert _kept(path, settings | {"trials": 2}) == rows[:2]
    assert _kept(path, settings | {"seed": 1}) == []
