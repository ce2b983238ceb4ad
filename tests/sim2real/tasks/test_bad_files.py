"""What is wrong with a task file is said with field, value and cure, all of it in one run, and nothing else happens."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from sim2real.errors import ShoalError
from sim2real.tasks.task import load_task
from tests.sim2real.planar_arm import MJCF, TASK


def refusal(folder: Path, changes: dict[str, Any]) -> str:
    """What is said of the planar arm's task with fields, by path, that have other values."""
    data: Any = copy.deepcopy(TASK)
    for path, value in changes.items():
        at, *rest = path.split("/")
        place = data
        while rest:
            place = place[int(at) if isinstance(place, list) else at]
            at, *rest = rest
        place[int(at) if isinstance(place, list) else at] = value
    (folder / "arm.xml").write_text(MJCF)
    (folder / "task.yaml").write_text(yaml.safe_dump(data, allow_unicode=True))
    with pytest.raises(ShoalError) as refused:
        load_task(folder / "task.yaml").contract  # noqa: B018 - the contract is built on first use
    return str(refused.value)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (
            "readings/0",
            "joint_postion",
            "unknown kind 'joint_postion' of reading (did you mean 'joint_position'?). Known",
        ),
        ("readings/0", {"kind": "joint_position", "nmae": "q"}, "nmae is not a known key (did you mean 'name'?)"),
        ("readings/0", {"kind": "joint_position", "noise_std": math.nan}, "noise_std: input should be a finite number"),
        (
            "readings/1",
            "joint_position",
            "readings: the name 'joint_position' stands 2 times; give one of them another",
        ),
        ("readings/0", "../x:Y", "kind '../x:Y' of reading: it names no class; name a class as `module:Class`"),
        ("readings/0", "json:nothing", "module 'json' has no attribute 'nothing'; name a class"),
        ("readings/0", "not_there.terms:Wheel", "from the package 'not_there', which cannot be imported here"),
        ("robot/servo", {"elbow": {"stiffness": -1, "damping": 1}}, "robot.servo.elbow.stiffness: input should be gr"),
        ("robot/servo", {"stiffness": 5, "damping": -1}, "robot.servo.damping: input should be greater than or equal"),
        ("robot/sevro", {}, "robot.sevro is not a known key (did you mean 'servo'?)"),
        ("robot/velocity_max", [1.0], "robot.velocity_max has 1 entries for 2 joints; give one for each"),
        ("resets/0", {"kind": "around_home", "half_range": [90.0, 1.0]}, "of 'shoulder' is more than a turn; write it"),
        ("resets/0", {"kind": "file", "path": "gone.npy"}, "gone.npy'; give a .npy file"),
        (
            "timing/episode_s",
            0.001,
            "timing.episode_s 0.001 is shorter than one control step of 0.02 s; make it longer",
        ),
        ("goal/position", "joint_velocity", "'joint_velocity' of kind 'joint_velocity' has 2 numbers, and the goal's"),
        ("action", {"kind": "joint_position_increment", "measured": "end_effector_position"}, "number for every joint"),
        ("teacher_readings", [{"kind": "height", "of": "tol"}], "no site and no body 'tol' (did you mean 'tool'?)"),
        ("features", [{"kind": "difference", "of": "joint_position", "minus": "end_effector_position"}], "is no place"),
    ],
)
def test_a_field_is_refused_with_its_value_and_what_to_do(path: str, value: Any, said: str, tmp_path: Path) -> None:
    assert said in refusal(tmp_path, {path: value})


def test_fields_of_all_parts_are_told_at_once(tmp_path: Path) -> None:
    changes = {"readings/0": "joint_postion", "timing/control_dt_s": -1, "action": {"kind": "x"}, "extra": 1}
    said = refusal(tmp_path, changes)
    for part in ("readings.0: unknown", "timing.control_dt_s: input", "action: unknown", "extra is not a known key"):
        assert part in said


def test_all_that_the_model_has_not_is_told_at_once(tmp_path: Path) -> None:
    changes = {
        "robot/joints": ["shoulder", "elbw"],
        "robot/end_effector_site": "tol",
        "robot/home_keyframe": "hoem",
        "resets/0": {"kind": "inside", "of": "zz", "min_m": [0, 0, 0], "max_m": [1, 1, 1]},
        "terminations": [{"kind": "tilt", "of": "q", "max_deg": 3}],
        "teacher_readings": [{"kind": "base_linear_velocity", "body": "upper"}],
    }
    said = refusal(tmp_path, changes)
    assert "task planar_reach has 6 problems" in said
    for part in (
        "'elbw'; did you mean 'elbow'?",
        "site or body 'tol'",
        "keyframe 'hoem'",
        "no body 'zz'",
        "no body 'q'",
    ):
        assert part in said
    assert "'upper' is no body with a free joint" in said


def test_a_package_that_fails_while_it_is_imported_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_terms.py").write_text("raise RuntimeError('no licence')\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "kind 'broken_terms:Wheel' of reading: no licence;" in refusal(
        tmp_path, {"readings/0": "broken_terms:Wheel"}
    )
