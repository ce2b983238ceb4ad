from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from runtime.drivers.base import DriverOptions
from runtime.drivers.mujoco import MujocoDriver
from runtime.drivers.pictures.video import find_backend
from runtime.robot.readings import Readings
from sim2real.contract import Contract
from sim2real.errors import ShoalError


@pytest.fixture(scope="module")
def backend() -> str:
    try:
        return find_backend()
    except ShoalError as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_films_the_motion(backend: str, contract: Contract, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import imageio_ffmpeg

    path = tmp_path / "out.mp4"
    driver = MujocoDriver(contract, DriverOptions(speed=0, video=path))
    readings, target = Readings.of(contract), np.array([joint.home_position for joint in contract.robot.joints])
    for _ in range(30):
        driver.read(readings)
        target[0] += 0.03
        driver.write(target)
    driver.close()
    assert "is complete" in capfd.readouterr().out
    frames = imageio_ffmpeg.read_frames(str(path))
    facts = next(frames)
    assert facts["fps"] == pytest.approx(1 / contract.timing.control_dt_s)
    shape = (*reversed(facts["size"]), 3)
    pictures = [np.frombuffer(frame, np.uint8).reshape(shape).astype(float) for frame in frames]
    assert len(pictures) == 30
    assert pictures[0].std() > 10  # a picture, not a blank
    assert np.abs(pictures[-1] - pictures[0]).max() > 50  # and the robot moved in it


@pytest.mark.parametrize(
    ("name", "sentence"), [("no/folder/out.mp4", "there is no folder"), ("out.avi", r"should end in \.mp4")]
)
def test_bad_path_is_one_sentence(contract: Contract, tmp_path: Path, name: str, sentence: str) -> None:
    with pytest.raises(ShoalError, match=f"--video: .*{sentence}"):
        MujocoDriver(contract, DriverOptions(video=tmp_path / name))


def test_machine_that_cannot_draw_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def fail(command: list[str], env: dict[str, str], **_: object) -> subprocess.CompletedProcess[bytes]:
        tried.append(env["MUJOCO_GL"])
        return subprocess.CompletedProcess(command, 1)

    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr("runtime.drivers.pictures.video.subprocess.run", fail)
    with pytest.raises(ShoalError, match=r"--video: this machine cannot draw without a display; .* libosmesa6"):
        find_backend()
    assert tried == ["egl", "osmesa"]


def test_dead_camera_does_not_stop_the_robot(
    monkeypatch: pytest.MonkeyPatch, contract: Contract, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("runtime.drivers.pictures.video.find_backend", lambda: "osmesa")
    driver = MujocoDriver(contract, DriverOptions(speed=0, video=tmp_path / "out.mp4"))
    assert driver._video is not None
    assert driver._video._frames._process is not None
    driver._video._frames._process.kill()
    driver._video._frames._process.wait()
    readings = Readings.of(contract)
    for _ in range(3):
        driver.read(readings)
    assert np.isfinite(readings.vector).all()
    driver.close()
    assert capfd.readouterr().err.count("ended early") == 1
