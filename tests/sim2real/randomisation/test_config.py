from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from sim2real.errors import ShoalError, problems
from sim2real.randomisation.config import TERMS, Preset, Randomisation, dump_randomisation, load_randomisation
from sim2real.randomisation.distributions import Distribution, Fixed
from sim2real.randomised_robots.sampling import Draws, link_ids, neutral_draws, require_draws, sample
from sim2real.tasks.task import Task, load_task

adapter: TypeAdapter[Any] = TypeAdapter(Distribution)

pairs = st.tuples(st.floats(0.01, 50), st.floats(0.01, 50)).map(sorted)
descriptions = st.one_of(
    st.floats(-9, 9),
    pairs.map(lambda pair: {"uniform": pair}),
    pairs.map(lambda pair: {"log_uniform": pair}),
    st.tuples(st.floats(-9, 9), st.floats(0, 3)).map(lambda pair: {"normal": list(pair)}),
    st.lists(st.floats(-9, 9), min_size=2, max_size=6).map(sorted).map(lambda values: {"quantiles": values}),
)


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task("franka_reach")


@given(descriptions)
def test_draws_stay_within_the_support(description: Any) -> None:
    distribution = adapter.validate_python(description)
    values = distribution.sample(np.random.default_rng(0), (500,))
    low, high = distribution.support
    assert values.shape == (500,)
    assert np.all(values >= low - 1e-12)
    assert np.all(values <= high + 1e-12)


def test_each_joint_has_a_distribution_of_its_own(task: Task) -> None:
    each = [{"uniform": [0.5, 0.6 + 0.1 * joint]} for joint in range(6)] + [2.0]
    setting = Randomisation.model_validate({"damping_scale": {"each": each}})
    drawn = sample(setting, task, count=400, seed=0).damping_scale
    assert drawn.shape == (400, 7)
    for joint in range(6):
        assert 0.5 <= drawn[:, joint].min() < 0.51 + 0.02 * joint
        assert 0.59 + 0.08 * joint < drawn[:, joint].max() <= 0.6 + 0.1 * joint
    assert np.all(drawn[:, 6] == 2.0)
    assert setting.damping_scale.support == (0.5, 2.0)
    assert Randomisation.model_validate(yaml.safe_load(dump_randomisation(setting))) == setting


def test_each_of_another_number_of_joints_is_one_sentence(task: Task) -> None:
    setting = Randomisation.model_validate({"damping_scale": {"each": [1, 2]}})
    with pytest.raises(ShoalError, match="each has 2 distributions, but the robot has 7 joints"):
        sample(setting, task, count=3, seed=0)


@pytest.mark.parametrize(
    ("description", "mean", "std"),
    [
        ({"uniform": [1, 3]}, 2.0, 2 / np.sqrt(12)),
        ({"log_uniform": [1, 100]}, 99 / np.log(100), None),
        ({"normal": [5, 0.5]}, 5.0, 0.498),  # cut at three deviations
        ({"quantiles": [0, 1, 10]}, 3.0, None),
        (4, 4.0, 0.0),
    ],
)
def test_draws_have_the_moments_of_their_distribution(description: Any, mean: float, std: float | None) -> None:
    values = adapter.validate_python(description).sample(np.random.default_rng(1), (200_000,))
    assert values.mean() == pytest.approx(mean, rel=0.01)
    if std is not None:
        assert values.std() == pytest.approx(std, rel=0.01, abs=1e-12)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"friction_scale": {"gaussian": [1, 2]}}, "friction_scale: give a number, or one of uniform: [low, high]"),
        ({"friction_scale": {"uniform": [2, 1]}}, "friction_scale.uniform: uniform [2, 1] must rise"),
        ({"friction_scale": {"uniform": [-1, 1]}}, "friction_scale reaches from -1 to 1, but must stay between 0.001"),
        (
            {"friction_scale": {"each": [1, 1]}},
            "friction_scale is drawn for each robot, so it cannot have a distribution",
        ),
        ({"damping_scale": {"each": []}}, "damping_scale.each.each"),
        ({"link_mass_scale": {"normal": [1, 0.5]}}, "link_mass_scale reaches from -0.5 to 2.5"),
        ({"action_delay_s": 0.9}, "action_delay_s reaches from 0.9 to 0.9, but must stay between 0 and 0.5"),
        ({"dropped_reading_probability": 1.0}, "must stay between 0 and 0.99"),
        ({"payload_mass_kg": {"quantiles": [2, 1]}}, "quantiles [2.0, 1.0] must rise"),
        ({"payload_mass_kg": "heavy"}, "payload_mass_kg: give a number"),
        ({"payload": 1}, "payload is not a known key"),
        ({"preset": "brutal"}, "unknown preset 'brutal'; presets are off, mild, hard"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, data: Any, message: str) -> None:
    path = tmp_path / "ranges.yaml"
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(ShoalError) as caught:
        load_randomisation(path)
    assert message in str(caught.value)


def test_neither_preset_nor_file() -> None:
    with pytest.raises(ShoalError, match="'wild' is neither a preset"):
        load_randomisation("wild")


def test_presets_widen() -> None:
    off, mild, hard = (load_randomisation(name) for name in get_args(Preset))
    assert off == Randomisation()
    assert off.active == ()
    assert set(mild.active) < set(hard.active)
    for name in mild.active:
        (low, high), (lower, higher) = mild.distribution(name).support, hard.distribution(name).support
        assert lower <= low, name
        assert higher >= high, name


def test_terms_replace_those_of_a_preset() -> None:
    setting = Randomisation.model_validate({"preset": "mild", "payload_mass_kg": 1})
    assert setting.payload_mass_kg == Fixed(fixed=1)
    assert setting.friction_scale == load_randomisation("mild").friction_scale


@pytest.mark.parametrize("name", get_args(Preset))
def test_written_and_read_back(name: str, tmp_path: Path) -> None:
    setting = load_randomisation(name)
    path = tmp_path / "ranges.yaml"
    path.write_text(dump_randomisation(setting))
    assert load_randomisation(path) == setting


def test_one_name_for_every_term() -> None:
    assert tuple(Randomisation.model_fields) == tuple(TERMS) == Draws._fields


def test_same_seed_same_robots_and_a_new_term_moves_no_other(task: Task) -> None:
    setting = load_randomisation("hard")
    first, second = (sample(setting, task, count=20, seed=3) for _ in range(2))
    without = sample(setting.model_copy(update={"friction_scale": Fixed(fixed=1.0)}), task, count=20, seed=3)
    other = sample(setting, task, count=20, seed=4)
    for name in Draws._fields:
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
        if name != "friction_scale":
            np.testing.assert_array_equal(getattr(first, name), getattr(without, name))
    assert not np.array_equal(first.armature_scale, other.armature_scale)
    assert first.active == setting.active


def test_shapes_and_names(task: Task) -> None:
    draws = sample(load_randomisation("hard"), task, count=5, seed=0)
    links = link_ids(task.model, task.contract)
    assert [task.model.body(link).name for link in links[:2]] == ["fr3_link1", "fr3_link2"]
    assert draws.link_com_offset_m.shape == (5, len(links), 3)
    assert draws.joint_offset_rad.shape == (5, 7)
    assert draws.rows(slice(1, 3)).num_robots == 2
    assert neutral_draws(task, count=2).active == ()


def test_wrong_draws_are_refused(task: Task) -> None:
    draws = neutral_draws(task, count=2)
    with pytest.raises(ShoalError, match=r"draws.payload_mass_kg: shape \(1,\), but this task needs \(2,\)"):
        require_draws(draws._replace(payload_mass_kg=np.ones(1)), task)
    with pytest.raises(ShoalError, match=r"draws.armature_scale: values from -1"):
        require_draws(draws._replace(armature_scale=np.full((2, 7), -1.0)), task)


def test_a_wrong_type_is_one_sentence() -> None:
    with pytest.raises(ValidationError) as caught:
        Randomisation.model_validate({"friction_scale": {"uniform": [1, 2], "normal": [0, 1]}})
    assert "friction_scale: give a number" in problems(caught.value)


def test_every_term_is_documented() -> None:
    text = (Path(__file__).parents[3] / "docs" / "randomisation.md").read_text()
    assert {name for name in TERMS if f"`{name}`" not in text} == set()
