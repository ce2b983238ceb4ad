from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

from runtime.cli import main
from runtime.robot.model import find_model
from runtime.safety import Safety, SafetyConfig, load_safety
from runtime.safety.geometry import geometry_checker_for
from runtime.safety.rules import report, rules_of
from runtime.safety.rules.base import Layer
from sim2real.contract import Contract
from sim2real.errors import ShoalError


def written(folder: Path, text: str) -> Path:
    path = folder / "safety.yaml"
    path.write_text(text)
    return path


def test_settings_from_yaml(tmp_path: Path, contract: Contract) -> None:
    config = load_safety(written(tmp_path, "velocity_share: 0.5\nacceleration_max_rad_s2: 10\nhold_to_damp_s: null\n"))
    assert (config.velocity_share, config.hold_to_damp_s) == (0.5, None)
    assert config.accelerations_rad_s2(contract) == (10.0,) * 7
    assert load_safety(written(tmp_path, "")) == SafetyConfig()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("velocity_share: 2", "velocity_share.*less than or equal to 1"),
        ("velocity_share: .nan", "velocity_share"),
        ("ramp_in: 3", "ramp_in is not a known key"),
        ("workspace_min_m: [0, 0, 0]", "workspace_min_m and workspace_max_m belong together"),
        ("{workspace_min_m: [0, 0, 0], workspace_max_m: [1, 0, 1]}", "y=0 must be below"),
        ("[1, 2]", "--safety"),
        ("a: [", "not valid YAML"),
    ],
)
def test_settings_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ShoalError, match=message):
        load_safety(written(tmp_path, text))


def test_settings_that_do_not_fit_the_robot(contract: Contract, tmp_path: Path) -> None:
    with pytest.raises(ShoalError, match="3 values for 7 joints"):
        Safety(contract, SafetyConfig(acceleration_max_rad_s2=(1.0, 2.0, 3.0)))
    with pytest.raises(ShoalError, match="position_margin_rad 2 leaves joint 'fr3_joint4' no room"):
        Safety(contract, SafetyConfig(position_margin_rad=2))
    with pytest.raises(ShoalError, match="--stale-after-periods must be positive"):
        SafetyConfig().with_stale_after(0)
    with pytest.raises(ShoalError, match="cannot read"):
        load_safety(tmp_path / "none.yaml")


def test_every_rule_that_is_off_says_why(contract: Contract) -> None:
    without_geometry = Layer(contract, SafetyConfig(), None)
    off = {rule.name: rule.off(without_geometry) for rule in rules_of(contract)}
    assert {name for name, why in off.items() if "no MJCF" in why} == {"workspace", "self-collision", "tool at joints"}
    first = [rule.fields[0] for rule in rules_of(contract) if rule.fields]
    unset = [field for field in first if type(None) in get_args(SafetyConfig.model_fields[field].annotation)]
    config = SafetyConfig(ramp_in_s=0, **dict.fromkeys(unset))
    off = {rule.name: rule.off(Layer(contract, config, None)) for rule in rules_of(contract)}
    assert [name for name, why in off.items() if not why] == [
        "position",
        "velocity",
        "acceleration",
        "stale readings",
        "order of readings",
        "finite readings",
        "possible values",
        "rotations",
        "early ticks",
    ]
    assert all("not set" in why for why in off.values() if why)


def test_start_up_report(contract: Contract) -> None:
    config = SafetyConfig()
    geometry_checker = geometry_checker_for(find_model(contract), contract, config)
    safety = Safety(contract, config, geometry_checker=geometry_checker)
    on, off = report(safety.layer).splitlines()
    assert "self-collision 5 mm, 35 pairs of geoms" in on
    assert "workspace (-0.05, -0.8, -0.25) to (1, 0.8, 1) m" in on
    assert off == "safety off damp to estop: damp_to_estop_s is not set"


def test_schema_and_rules_are_printed(policy_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["safety", "--schema"])
    assert ended.value.code == 0
    assert "acceleration_max_rad_s2" in json.loads(capsys.readouterr().out)["properties"]
    with pytest.raises(SystemExit):
        main(["safety", "--model", str(policy_path)])
    assert "self-collision" in capsys.readouterr().out
