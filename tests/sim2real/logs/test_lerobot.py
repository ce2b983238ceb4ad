"""Datasets against the arrays they were made of. `benchmarks.sim2real.lerobot_dataset` asks LeRobot itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest

from benchmarks.sim2real.hidden_robot import Truth, record
from benchmarks.sim2real.identification import robot_task
from sim2real.commands.dataset import dataset
from sim2real.errors import ShoalError
from sim2real.logs.lerobot import read_episodes, write_dataset
from sim2real.logs.log import Log
from sim2real.logs.recording import Recording, read_recording
from tests.sim2real.recordings import excited

TICKS = 100


@pytest.fixture(scope="module")
def log() -> Log:
    return excited(robot_task("planar"), Truth(), duration_s=5.0).part(0, TICKS)


@pytest.fixture
def recording(log: Log, tmp_path: Path) -> Recording:
    return read_recording(record(tmp_path / "run.mcap", log))


def give_goal(recording: Recording, *, at: int, goal_number: int) -> list[float]:
    """A goal before a tick, in force from then on."""
    size = recording.contract.goal.layout(recording.contract).size
    request = [0.1 * goal_number] * size
    ticks = recording.ticks
    event: dict[str, Any] = {
        "kind": "goal",
        "goal_number": goal_number,
        "now_s": ticks[at]["now_s"],
        "request": request,
    }
    for tick in ticks[at:]:
        tick["goal_number"] = goal_number
    place = next(i for i, (_, message) in enumerate(recording.messages) if message is ticks[at])
    recording.messages.insert(place, ("/event", event))
    return request


def lengths(recording: Recording) -> list[int]:
    return [len(arrays["action"]) for arrays in read_episodes([recording]).arrays]


def test_a_dataset_holds_what_was_read_and_commanded(recording: Recording, log: Log, tmp_path: Path) -> None:
    write_dataset(tmp_path / "made", read_episodes([recording, recording]))
    assert not list(tmp_path.glob(".made*"))
    columns = parquet.read_table(tmp_path / "made/data/chunk-000/file-000.parquet").to_pydict()
    for name, expected in (("action", log.command), ("observation.state", log.joint_position)):
        np.testing.assert_array_equal(columns[name], np.float32([*expected, *expected]))
    np.testing.assert_array_equal(columns["observation.joint_velocity"][:TICKS], np.float32(log.joint_velocity))
    period = log.contract.timing.control_dt_s
    np.testing.assert_allclose(columns["timestamp"], [*np.arange(TICKS) * period] * 2, atol=1e-6)
    assert columns["index"] == [*range(2 * TICKS)]
    assert columns["episode_index"] == [0] * TICKS + [1] * TICKS
    rows = parquet.read_table(tmp_path / "made/meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [(row["dataset_from_index"], row["dataset_to_index"]) for row in rows] == [(0, TICKS), (TICKS, 2 * TICKS)]
    info = json.loads((tmp_path / "made/meta/info.json").read_text())
    assert (info["total_episodes"], info["total_frames"], info["fps"]) == (2, 2 * TICKS, round(1 / period))
    assert info["features"].keys() == columns.keys()
    assert info["features"]["action"]["names"] == list(log.contract.joint_names)
    statistics = json.loads((tmp_path / "made/meta/stats.json").read_text())["action"]
    np.testing.assert_allclose(statistics["mean"], log.command.mean(0), atol=1e-5)
    np.testing.assert_allclose(
        statistics["q50"], np.median(np.float32([*log.command, *log.command]), axis=0), atol=1e-5
    )


def test_each_goal_is_an_episode_and_a_stream_of_them_is_one(recording: Recording) -> None:
    give_goal(recording, at=0, goal_number=1)
    late = give_goal(recording, at=60, goal_number=2)
    assert lengths(recording) == [60, TICKS - 60]
    np.testing.assert_allclose(read_episodes([recording]).arrays[1]["observation.goal"][0], late, rtol=1e-6)
    for number in range(3, 10):
        give_goal(recording, at=60 + 3 * number, goal_number=number)
    assert lengths(recording) == [60, TICKS - 60]
    assert len(np.unique(read_episodes([recording]).arrays[1]["observation.goal"], axis=0)) == 8


def test_a_goal_that_comes_soon_after_one_that_was_reached_is_an_episode(recording: Recording) -> None:
    soon = round(0.5 / recording.contract.timing.control_dt_s)
    give_goal(recording, at=0, goal_number=1)
    give_goal(recording, at=soon, goal_number=2)
    assert lengths(recording) == [TICKS]
    recording.ticks[soon - 1]["reached"] = True
    assert lengths(recording) == [soon, TICKS - soon]


def test_what_a_robot_does_without_a_goal_teaches_nothing(recording: Recording) -> None:
    for tick in recording.ticks[40:]:
        tick["state"] = "idle"
    assert lengths(recording) == [40]
    for tick in recording.ticks[1:40]:
        tick["state"] = "hold"
    with pytest.raises(ShoalError, match="no two ticks in a row follow a goal"):
        read_episodes([recording])


def test_frames_of_an_episode_lie_one_period_apart(recording: Recording) -> None:
    period = recording.contract.timing.control_dt_s
    for tick in recording.ticks[30:]:
        tick["now_s"] += period  # a period that was missed
    recording.ticks[50]["commanding"] = False
    recording.ticks[70]["joint_position"][0] = None
    assert lengths(recording) == [30, 20, 19, TICKS - 71]
    assert read_episodes([recording]).left_out == 1


def test_recordings_without_a_usable_tick_are_refused(recording: Recording) -> None:
    for tick in recording.ticks:
        tick["commanding"] = False
    with pytest.raises(ShoalError, match="no two ticks in a row follow a goal with all numbers known"):
        read_episodes([recording])


def test_a_folder_that_is_there_stays_as_it_is(recording: Recording, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "mine.txt").write_text("mine")
    with pytest.raises(ShoalError, match="exists already; name a folder that does not"):
        dataset((recording.path,), output=kept)
    assert [path.name for path in kept.iterdir()] == ["mine.txt"]


def test_the_command_says_what_it_wrote_and_what_is_missing(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset((recording.path,), output=tmp_path / "made")
    assert f"made, 1 episodes, {TICKS} frames" in capsys.readouterr().out
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ShoalError, match=r"pip install 'shoal\[data\]'"):
        dataset((recording.path,), output=tmp_path / "again")
    assert not (tmp_path / "again").exists()
    with pytest.raises(ShoalError, match=r"run.mcap: the same recording was given more than once"):
        dataset((recording.path, recording.path), output=tmp_path / "twice")
    with pytest.raises(ShoalError, match="give at least one recording"):
        dataset((), output=tmp_path / "none")
