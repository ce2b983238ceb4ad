from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from runtime.goals.messages import load_goals
from runtime.safety.config import load_safety
from sim2real import strict_yaml
from sim2real.errors import ShoalError
from sim2real.randomisation.config import Randomisation, load_randomisation
from sim2real.stress.config import load_stress
from sim2real.tasks.task import load_task
from teacher.config import TeacherConfig
from teacher.run.folder import RunFolder

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(path for room in ("sim2real", "benchmarks") for path in (ROOT / room).rglob("*.yaml"))


def bomb() -> str:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]" for old, new in zip("abcdefgh", "bcdefghi", strict=True)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("a: 1e3", 1000.0),
        ("a: -1.5E-3", -0.0015),
        ("a: off", "off"),
        ("a: yes", "yes"),
        ("a: True", True),
        ("a: 010", 10),
        ("a: 0x1f", 31),
        ("a: 1:30", "1:30"),
        ("a: 1_000", "1_000"),
        ("a: 2020-01-01", "2020-01-01"),
        ("a: '1'", "1"),
        ("a: ~", None),
        ("a:", None),
        ("a: .inf", math.inf),
        ("\ufeffa: 1", 1),
        ("x: &x [1]\na: *x", [1]),
    ],
)
def test_plain_scalars_are_those_of_yaml_1_2(text: str, data: Any) -> None:
    assert strict_yaml.load(text)["a"] == data


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3", "'a' in lines 1, 3"),
        ("a: {b: 1, b: 1}\nc: 1\nc: 2", "'c' in lines 2, 3; 'b' in lines 1, 1"),
        ("a:\n\tb: 1", "line 2, column 1: there is a tab"),
        ("a: &x [*x]", "an alias stands inside what it names"),
        (bomb(), "expands to more than"),
        ("<<: {a: 1}", "merge keys"),
        ("[" * 5000, "nested too deeply"),
        ("{" * 5000, "nested too deeply"),
        ("1: a", "'1' is no text"),
        ("? [a]\n: 1", "a list or mapping is no text"),
        ("a: !!python/object/apply:os.system [ls]", "the tag .* is not known"),
        ("a: !!binary aGVsbG8=", "cannot be read as"),
        ("a: 1\n---\na: 2", "another document"),
        ("a: \x01", "special characters"),
        ("a: " + "9" * 5000, "5000 digits"),
        ("a" * 5_000_000, "longer than"),
        ("a: '", "line 1, column 5"),
    ],
)
def test_what_is_wrong_is_one_sentence(text: str, words: str) -> None:
    with pytest.raises(strict_yaml.YamlError, match=words) as caught:
        strict_yaml.load(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_what_ships_means_the_same_to_every_reader(path: Path) -> None:
    assert strict_yaml.load(path.read_text()) == yaml.safe_load(path.read_text())


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
plain = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12)


@given(plain)
@example({"\x85": None})
@example(["a\u2028b", {"\u2029": "\x85c"}])
def test_what_is_written_is_read_back_by_this_reader_and_by_others(data: Any) -> None:
    text = strict_yaml.dump(data)
    assert strict_yaml.load(text) == data
    assert yaml.safe_load(text) == data


@given(st.text(alphabet="ab:- \n\t{}[],&*!'\"|>#?%@~0.e<"))
def test_any_text_is_data_or_one_error(text: str) -> None:
    with suppress(strict_yaml.YamlError):
        strict_yaml.load(text)


def load_run(path: Path) -> TeacherConfig:
    path.rename(path.with_name("config.yaml"))
    return RunFolder(path.parent).load(TeacherConfig)[0]


@pytest.mark.parametrize(
    ("load", "text"),
    [
        (load_task, "name: one\nname: two"),
        (load_safety, "velocity_share: 0.2\nvelocity_share: 1.0"),
        (load_randomisation, "friction_scale: 1\nfriction_scale: 2"),
        (load_stress, "level: 0.5\nlevel: 0.6"),
        (load_goals, "- {position: [0, 0, 0], position: [1, 1, 1]}"),
        (load_run, "seed: 1\nseed: 2"),
    ],
    ids=["task", "safety", "randomisation", "stress", "goals", "run"],
)
def test_a_key_that_stands_twice_is_refused_wherever_yaml_is_read(load: Any, text: str, tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text(text)
    with pytest.raises(ShoalError, match="more than once"):
        load(path)


def test_a_preset_may_be_called_off(tmp_path: Path) -> None:
    path = tmp_path / "plain.yaml"
    path.write_text("preset: off\npayload_mass_kg: 1e-1")
    assert load_randomisation(path) == Randomisation.model_validate({"payload_mass_kg": 0.1})
