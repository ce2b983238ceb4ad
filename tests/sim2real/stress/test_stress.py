"""Stress tests: boundaries where they truly are, points that are kept, go and no-go, and what users get wrong."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sim2real.cli import main
from sim2real.errors import ShoalError
from sim2real.randomisation.config import TERMS, Randomisation
from sim2real.stress.config import Precision, StressConfig, load_stress
from sim2real.stress.episodes import Stand
from sim2real.stress.plots import trained_range
from sim2real.stress.points import Kept, decide, stages
from sim2real.stress.search import find_boundary, map_pair
from sim2real.tasks.task import Task, load_task
from tests.sim2real.stress_policy import write_bent_arm, write_policy


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return load_task(write_bent_arm(tmp_path_factory.mktemp("arm")))


@pytest.fixture(scope="module")
def model(task: Task) -> Path:
    return write_policy(task.folder / "policy.onnx", task.contract)


class Known:
    """A robot whose success falls with one term in a known way, and that counts its episodes."""

    def __init__(self, term: str, boundary: float, slope: float, seed: int) -> None:
        self.term, self.boundary, self.slope = term, boundary, slope
        self.rng, self.episodes = np.random.default_rng(seed), 0

    def __call__(self, setting: Randomisation, first: int, count: int) -> np.ndarray:
        value = setting.distribution(self.term).support[1]
        # Nine in ten at the boundary.
        probability = 1 / (1 + math.exp(np.clip(self.slope * (value / self.boundary - 1), -30, 30)) / 9)
        self.episodes += count
        return np.asarray(self.rng.random(count) < probability)


def config_of(*sweeps: dict[str, Any], **others: Any) -> StressConfig:
    return StressConfig.model_validate({"sweeps": list(sweeps)} | others)


@given(st.floats(0.05, 0.9), st.floats(6, 60), st.integers(0, 10_000))
def test_search_finds_a_known_boundary(share: float, slope: float, seed: int) -> None:
    boundary = 0.4 * share
    config = config_of({"term": "action_delay_s", "to": 0.4})
    found = find_boundary(config.sweeps[0], config, Known("action_delay_s", boundary, slope, seed))
    assert found.value is not None
    # Between 97 and 75 %, say: as far as a slope of this size lets 512 episodes tell, plus half a bracket.
    assert found.value == pytest.approx(boundary, rel=0.06 + 2.0 / slope)
    assert found.above is None or found.below is None or found.above < found.below


def test_known_sides_hold_as_often_as_stated() -> None:
    config = config_of({"term": "action_delay_s", "to": 0.4})
    wrong = 0
    for seed in range(200):
        point = decide(
            Known("action_delay_s", 0.1, 20, seed), config.sweeps[0].setting(0.099, Randomisation()), 0.9, Precision()
        )
        wrong += point.side == "below"
    assert wrong <= 10  # 5 % of 200, for both sides together


def test_clear_points_cost_few_episodes() -> None:
    config = config_of({"term": "action_delay_s", "to": 0.4})
    robot = Known("action_delay_s", 0.1, 1000, 0)
    assert decide(robot, config.sweeps[0].setting(0.2, Randomisation()), 0.9, Precision()).side == "below"
    assert robot.episodes == Precision().episodes_first


def test_a_factor_is_swept_downwards_on_a_logarithmic_scale() -> None:
    config = config_of({"term": "servo_stiffness_scale", "to": 0.01})
    sweep = config.sweeps[0]
    assert [sweep.value(share) for share in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 0.1, 0.01])

    def fragile(setting: Randomisation, first: int, count: int) -> np.ndarray:
        return np.full(count, setting.servo_stiffness_scale.support[0] > 0.2)

    found = find_boundary(sweep, config, fragile)
    assert found.value == pytest.approx(0.2, rel=0.25)
    assert found.above is not None
    assert found.below is not None
    assert found.below < 0.2 < found.above


def test_no_boundary_and_a_boundary_at_once() -> None:
    config = config_of({"term": "payload_mass_kg", "to": 3.0})
    nothing = find_boundary(config.sweeps[0], config, lambda setting, first, count: np.ones(count, bool))
    assert (nothing.value, nothing.above, nothing.below) == (None, 3.0, None)
    always = find_boundary(config.sweeps[0], config, lambda setting, first, count: np.zeros(count, bool))
    assert (always.value, always.above, always.below) == (0.0, None, 0.0)
    assert len(always.points) == 1


def test_a_map_reaches_beyond_both_boundaries() -> None:
    config = config_of({"term": "action_delay_s", "to": 0.4}, {"term": "payload_mass_kg", "to": 8.0})

    def together(setting: Randomisation, first: int, count: int) -> np.ndarray:
        delay, mass = setting.action_delay_s.support[0], setting.payload_mass_kg.support[0]
        return np.full(count, delay / 0.1 + mass / 2 < 1)

    first, second = (find_boundary(sweep, config, together) for sweep in config.sweeps)
    heat = map_pair(first, second, config, together)
    assert heat.first_values[0] == heat.second_values[0] == 0
    assert 0.1 < heat.first_values[-1] < 0.2
    assert 2 < heat.second_values[-1] < 4
    assert heat.successes[0, 0] == heat.episodes
    assert heat.successes[-1, 0] == heat.successes[0, -1] == 0
    assert (np.diff(heat.successes, axis=0) <= 0).all()
    assert (np.diff(heat.successes, axis=1) <= 0).all()


@given(st.integers(8, 300), st.integers(8, 3000))
def test_stages_double_up_to_the_largest(first: int, most: int) -> None:
    if most < first:
        return
    counts = stages(Precision(episodes_first=first, episodes_max=most))
    assert counts[0] == first
    assert counts[-1] == most
    assert all(0 < b - a <= a for a, b in itertools.pairwise(counts))


def test_calibration_error_breaks_the_policy_where_geometry_says(task: Task, model: Path) -> None:
    # The policy brings the tool's reading to the goal, so the tool itself is off by the bias. Of biases uniform in a
    # square of half width x, nine in ten are shorter than the 5 cm that are tolerated.
    tolerance = task.contract.goal.coarse_position_m
    square = np.random.default_rng(0).uniform(-1, 1, (100_000, 2))
    expected = tolerance / np.quantile(np.linalg.norm(square, axis=1), 0.9)
    config = config_of(
        {"term": "tool_position_bias_m", "to": 0.2},
        precision={"episodes_first": 64, "episodes_max": 256, "confidence": 0.9, "bracket": 0.15},
    )
    stand = Stand(model, task, seed=0, episodes=256)
    found = find_boundary(
        config.sweeps[0], config, lambda setting, first, count: stand.successes(setting, first=first, count=count)
    )
    assert found.value == pytest.approx(expected, rel=0.15)
    assert found.above is not None
    assert found.below is not None
    assert found.above < expected < found.below


def test_equal_episodes_give_equal_answers_whatever_the_block(task: Task, model: Path) -> None:
    stand = Stand(model, task, seed=0, episodes=32)
    off = Randomisation()
    whole = stand.successes(off, first=0, count=32)
    parts = [stand.successes(off, first=first, count=16) for first in (0, 16)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    with pytest.raises(ShoalError, match="only 32 are planned"):
        stand.successes(off, first=20, count=16)


def test_points_are_kept_and_a_torn_line_is_dropped(task: Task, model: Path, tmp_path: Path) -> None:
    stand, path = Stand(model, task, seed=0, episodes=16), tmp_path / "points.jsonl"
    setting = Randomisation.model_validate({"action_delay_s": 0.1})
    first = Kept(stand, path, seed=0)(setting, 0, 16)
    path.write_text(path.read_text() + '{"key": "torn')
    again = Kept(stand, path, seed=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stand, "successes", lambda *_, **__: pytest.fail("flown again"))
        np.testing.assert_array_equal(again(setting, 0, 16), first)
    assert again.episodes == 16
    other = Kept(stand, path, seed=1)
    other(setting, 0, 16)
    assert len(path.read_text().splitlines()) == 2  # another seed, another point, no torn line
    path.write_text("nonsense\n")
    with pytest.raises(ShoalError, match=r"points.jsonl, line 1"):
        Kept(stand, path, seed=0)


def test_what_ships_sweeps_every_term_beyond_hard() -> None:
    config, hard = load_stress(None), Randomisation.model_validate("hard")
    assert {sweep.term for sweep in config.sweeps} == set(TERMS)
    for sweep in config.sweeps:
        low, high = hard.distribution(sweep.term).support
        up = sweep.to > TERMS[sweep.term].neutral
        worst = max(abs(low), abs(high)) if sweep.signed else high if up else low
        # A term that hard leaves alone has nothing to go beyond.
        if up:
            assert sweep.to > worst, sweep.name
        elif sweep.term != "push_interval_s":
            assert sweep.to <= worst, sweep.name
    assert config.requirements
    assert config.pairs


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sweeps: [{term: colour, to: 1}]", "'colour' is no term"),
        ("sweeps: [{term: payload_mass_kg, to: 0}]", "changes nothing"),
        ("sweeps: [{term: joint_offset_rad, to: -1}]", "half width"),
        ("sweeps: [{term: action_delay_s, to: 3}]", "between 0 and 0.5"),
        ("sweeps: []", "sweeps"),
        ("sweeps: [{term: payload_mass_kg, to: 1}, {term: payload_mass_kg, to: 2}]", "twice"),
        ("pairs: [[payload_mass_kg, servo_stiffness_scale]]", "ambiguous"),
        ("pairs: [[payload_mass_kg, wind]]", "no sweep"),
        ("pairs: [[servo_stiffness_scale up, servo_stiffness_scale down]]", "same term"),
        ("requirements: [{name: x, under: {payload_mass_kg: -1}}]", "payload_mass_kg"),
        ("requirements: [{name: x, under: mild, success: 2}]", "success"),
        ("precision: {episodes_first: 64, episodes_max: 32}", "episodes_max 32"),
        ("speed: 9", "not a known key"),
        ("[1, 2]", "must hold keys"),
        ("a: [", "not valid YAML"),
    ],
)
def test_wrong_config_is_one_sentence(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "stress.yaml"
    path.write_text(text)
    with pytest.raises(ShoalError, match="stress: ") as caught:
        load_stress(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_own_sweeps_drop_the_pairs_that_ship(tmp_path: Path) -> None:
    path = tmp_path / "stress.yaml"
    path.write_text("sweeps: [{term: payload_mass_kg, to: 1}]")
    config = load_stress(path)
    assert (len(config.sweeps), config.pairs) == (1, ())
    assert config.requirements == load_stress(None).requirements


def test_trained_range_is_that_of_the_direction() -> None:
    config = config_of(
        {"term": "servo_stiffness_scale", "to": 3},
        {"term": "servo_stiffness_scale", "to": 0.1},
        {"term": "joint_offset_rad", "to": 0.1},
    )
    hard = Randomisation.model_validate("hard")
    ranges = [
        trained_range(find_boundary(sweep, config, lambda setting, first, count: np.ones(count, bool)), hard)
        for sweep in config.sweeps
    ]
    assert ranges == [(1.0, 1.25), (0.75, 1.0), (0.0, pytest.approx(0.015))]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The command's exit status."""
    monkeypatch.setattr("sys.argv", ["sim2real", "stress", *map(str, arguments)])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def command_config(path: Path, requirement: dict[str, Any]) -> Path:
    path.write_text(
        yaml.safe_dump(
            {
                "sweeps": [{"term": "action_delay_s", "to": 0.4}, {"term": "payload_mass_kg", "to": 2.0}],
                "pairs": [["action_delay_s", "payload_mass_kg"]],
                "requirements": [{"name": "mine <b>", **requirement}],
            }
        )
    )
    return path


def test_command_says_go_or_no_go_and_takes_up_what_was_flown(
    task: Task, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out" / "stress.json"
    common = ("--model", model, "--task", task.folder / "task.yaml", "--json", out, "--quick", "--trained", "hard")
    good = command_config(tmp_path / "good.yaml", {"under": "mild", "success": 0.8})
    assert run(monkeypatch, *common, "--config", good) == 0
    said = capsys.readouterr().out
    assert said.startswith("Go: all 1 requirements hold.")
    report = json.loads(out.read_text())
    assert report["go"]
    assert report["task"] == "planar_reach"
    delay, payload = report["boundaries"]
    assert 0.05 < delay["boundary"] < 0.2
    assert delay["unit"] == "s"
    assert delay["trained"] == [0.0, 0.03]
    assert payload["boundary"] is None
    assert payload["known_above"] == 2.0
    assert np.array(report["maps"][0]["successes"]).shape == (3, 3)
    page = out.with_suffix(".html").read_text()
    assert page.count("<svg") == 2
    assert "mine &lt;b&gt;" in page
    assert "mine <b>" not in page
    kept = out.with_suffix(".points.jsonl").read_text()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stand, "successes", lambda *_, **__: pytest.fail("flown again"))
        assert run(monkeypatch, *common, "--config", good) == 0
    assert json.loads(out.read_text()) == report

    bad = command_config(tmp_path / "bad.yaml", {"under": {"action_delay_s": 0.3}, "success": 0.8})
    assert run(monkeypatch, *common, "--config", bad, "--html", tmp_path / "bad.html") == 1
    assert "No-go: 1 of 1 requirements" in capsys.readouterr().out
    assert out.with_suffix(".points.jsonl").read_text().startswith(kept)
    assert (tmp_path / "bad.html").is_file()


def test_command_refuses_what_does_not_belong_together(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, said in (
        (("--model", tmp_path / "none.onnx"), "no file at"),
        (("--model", model), "unknown task 'planar_reach'"),
        (("--model", model, "--task", "franka_reach"), "robot"),
        (("--model", model, "--task", "franka_reach", "--config", tmp_path / "no.yaml"), "no file at"),
        (("--model", model, "--seed", -1), "--seed"),
    ):
        assert run(monkeypatch, *arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert said in error
