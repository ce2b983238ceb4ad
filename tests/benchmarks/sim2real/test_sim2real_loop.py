"""The loop benchmark: one hidden robot in two descriptions, cells that are kept, means that are means."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import mujoco
import numpy as np
import pytest

from benchmarks.sim2real.hidden_robot import Truth, play
from benchmarks.sim2real.identification import robot_task
from benchmarks.sim2real.sim2real_loop import CONDITIONS, FRANKA, PLANAR, Loop, as_draws, draw, hidden_truth, summarise
from sim2real.backends.native import NativeEnvironment
from sim2real.identification.excitation import fourier, random_coefficients
from sim2real.identification.parameters import make_problem
from sim2real.randomisation.config import Randomisation, load_randomisation
from sim2real.tasks.goal_pool import sample_goal_pool
from sim2real.tasks.task import Task, load_task


def in_the_environment(task: Task, truth: Truth, command: np.ndarray) -> np.ndarray:
    """What the policies are judged on, under the same commands: joint readings `[T, J]` rad."""
    pool = sample_goal_pool(task, size=4, seed=0)
    env = NativeEnvironment(task, num_envs=1, seed=0, pool=pool, draws=as_draws(truth, task, 1), keep_robots=True)
    offset = 0.0 if truth.joint_offset_rad is None else truth.joint_offset_rad
    env.place(np.arange(1), command[:1] - offset, pool.goal[:1])
    rows = []
    for target in command:
        rows.append(env.readings()["joint_position"][0].copy())
        env.advance(target[None])
    return np.array(rows)


@pytest.mark.parametrize("robot", ["planar", "franka"])
def test_logs_and_judgement_see_the_same_robot(robot: str) -> None:
    task = robot_task(robot)  # type: ignore[arg-type]
    truth = dataclasses.replace(hidden_truth(task, 0), action_delay_s=0.06, action_jitter_s=0.0, noise_std_rad=0.0)
    coefficients = random_coefficients(len(task.contract.joint_names), np.random.default_rng(0))
    command = fourier(task, coefficients, 4.0).command
    log = play(task, truth, command, seed=0).joint_position
    judged = in_the_environment(task, truth, command)
    # Readings of the environment are float32.
    np.testing.assert_allclose(judged, log, atol=1e-6)


@pytest.mark.parametrize("robot", ["planar", "franka"])
def test_identification_hangs_the_payload_where_the_robot_does(robot: str) -> None:
    task = robot_task(robot)  # type: ignore[arg-type]
    problem = make_problem(str(task.mjcf_path), task.contract, ("payload_mass",))
    units = np.array([[problem.quantities[0].unit_value(1.0)]])
    models = [problem.models(units)[0], Truth(payload_mass_kg=1.0).model(task)]
    rng, biases = np.random.default_rng(0), []
    positions = rng.uniform(-1, 1, (5, task.model.nq))
    for model in models:
        data = mujoco.MjData(model)
        for position in positions:
            data.qpos[:] = position
            mujoco.mj_forward(model, data)
            biases.append(data.qfrc_bias.copy())
    np.testing.assert_allclose(biases[:5], biases[5:], atol=1e-6)


def test_hidden_robots_differ_by_seed_and_lie_outside_folklore() -> None:
    task, hard = load_task("franka_reach"), Randomisation.model_validate("hard")
    first, again, other = (hidden_truth(task, seed) for seed in (0, 0, 1))
    assert first.payload_mass_kg == again.payload_mass_kg != other.payload_mass_kg
    period_s = task.contract.timing.control_dt_s
    assert first.mean_delay_s(period_s) > hard.action_delay_s.support[1] + hard.observation_delay_s.support[1]
    assert first.payload_mass_kg <= hard.payload_mass_kg.support[1]


def test_cells_are_kept_and_seeds_come_whole(tmp_path: Path) -> None:
    cells = list(Loop(FRANKA, tmp_path).cells(2))
    assert cells[: len(CONDITIONS)] == [(0, condition) for condition in CONDITIONS]
    loop = Loop(PLANAR, tmp_path)
    row = {"seed": 1, "condition": "folklore", "success": 0.5}
    (tmp_path / "folklore_1").mkdir()
    (tmp_path / "folklore_1" / "result.json").write_text(json.dumps(row))
    assert loop.result(1, "folklore") == row


def test_identified_ranges_hold_what_the_log_tells(tmp_path: Path) -> None:
    loop = Loop(dataclasses.replace(PLANAR, log_s=6.0), tmp_path)
    path = Path(loop._ranges(0, "identified"))
    found, truth = load_randomisation(path), hidden_truth(loop.task, 0)
    low, high = found.action_delay_s.support
    middle = truth.mean_delay_s(loop.task.contract.timing.control_dt_s)
    assert low - 0.002 < middle < high + 0.002
    assert high - low < 0.02
    # What no log of this arm tells stays as mild has it.
    assert found.joint_offset_rad == Randomisation.model_validate("mild").joint_offset_rad
    assert path.read_text().startswith("# ")


def test_summary_and_picture(tmp_path: Path) -> None:
    rows = [
        {
            "seed": seed,
            "condition": condition,
            "episodes": 100,
            "reached": reached,
            "success": reached / 100,
            "success_fine": reached / 200,
            "median_error_mm": 10.0 * seed,
            "success_on_model": 1.0,
        }
        for condition, pair in zip(CONDITIONS, ((40, 60), (70, 80), (95, 97)), strict=True)
        for seed, reached in enumerate(pair)
    ]
    lines = summarise(rows)
    assert [line["success"] for line in lines] == pytest.approx([0.5, 0.75, 0.96])
    assert lines[0]["success_ci95"] == pytest.approx(12.706 * 0.1414214 / np.sqrt(2), rel=1e-3)
    assert [line["success_fine"] for line in lines] == pytest.approx([0.25, 0.375, 0.48])
    assert lines[0]["median_error_mm"] == 5.0
    low, high = lines[2]["episodes_interval"]
    assert low < 0.96 < high
    draw(rows, lines, tmp_path / "loop.png")
    assert (tmp_path / "loop.png").stat().st_size > 5000


def test_training_is_small_and_the_same_for_all() -> None:
    assert "randomisation" not in FRANKA.teacher | FRANKA.distill
    assert FRANKA.log_s == 60
