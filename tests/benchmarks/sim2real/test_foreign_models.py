"""The benchmark of foreign models: a package that is missing, a wheel, and a model that is no robot."""

from __future__ import annotations

import zipfile
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from benchmarks.sim2real import foreign_models
from benchmarks.sim2real.foreign_models import Arguments, Model, rows

STONE = '<mujoco><worldbody><body name="stone"><geom size="1"/></body></worldbody></mujoco>'


@pytest.fixture
def two_models(monkeypatch: pytest.MonkeyPatch) -> None:
    models = (Model("quarry", "assets/stone.xml", "reach", "a stone"), Model("gone", "robot.xml", "reach", "missing"))
    monkeypatch.setattr(foreign_models, "MODELS", models)


@pytest.mark.usefixtures("two_models")
def test_a_wheel_is_unpacked_and_what_cannot_be_is_said(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "quarry-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("quarry/assets/stone.xml", STONE)
    stone, gone = rows(Arguments(folder=tmp_path))
    assert stone["ready"] is False
    assert stone["said"] == (
        "new-task: no site or body of this model hangs on a joint that could move it; no kind of task fits this robot."
    )
    assert gone["said"] == "not at hand; pip download --no-deps gone into --folder"
    assert not any(path.is_dir() for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("stderr", "said"),
    [
        ("warning\nerror: no file.\n", "no file."),
        (
            "error: arm.urdf has 2 problems:\n  link 'a': no mesh.\n  link 'b'.\n",
            "arm.urdf has 2 problems: link 'a': no mesh.",
        ),
        ("Traceback\nKeyError: 3\n", "Traceback\nKeyError: 3\n"),
    ],
)
def test_what_a_command_said_is_its_error_and_the_first_of_several(stderr: str, said: str) -> None:
    assert foreign_models._reason(CompletedProcess([], 2, "", stderr)) == said


def test_every_kind_of_robot_is_among_the_models() -> None:
    about = " ".join(model.about for model in foreign_models.MODELS)
    for kind in ("motors", "velocity servos", "position servos", "no actuators", "tendon", "two arms", "mobile base"):
        assert kind in about
    assert {model.kind for model in foreign_models.MODELS} == {"reach", "pose", "walk", "push"}
