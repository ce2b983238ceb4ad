from __future__ import annotations

import io
import shutil
import subprocess
import time
from collections.abc import Iterator
from types import SimpleNamespace

import mujoco
import numpy as np
import pytest

from runtime.drivers.base import DriverOptions
from runtime.drivers.mujoco import MujocoDriver
from runtime.drivers.pictures import frames
from runtime.robot.readings import Readings
from sim2real.contract import Contract
from sim2real.errors import ShoalError

DISPLAY = ":93"


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not installed")
    server = subprocess.Popen(["Xvfb", DISPLAY, "-screen", "0", "800x600x24"], stderr=subprocess.DEVNULL)
    monkeypatch.setenv("DISPLAY", DISPLAY)
    yield DISPLAY
    server.kill()
    server.wait()


def test_machine_without_a_display_is_one_sentence(monkeypatch: pytest.MonkeyPatch, contract: Contract) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(ShoalError, match=r"--viewer: there is no display here .* use --page or --video"):
        MujocoDriver(contract, DriverOptions(viewer=True))


def test_a_slow_window_skips_to_the_newest_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    model = mujoco.MjModel.from_xml_string(
        "<mujoco><worldbody><body><joint/><geom size='1'/></body></worldbody></mujoco>"
    )
    sent = np.arange(5.0)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(sent.tobytes())))
    seen = []
    for frame in frames.received(model, newest=True):
        seen.append(frame[0])
        time.sleep(0.2)
    assert len(seen) <= 2
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(sent.tobytes())))
    assert [frame[0] for frame in frames.received(model)] == sent.tolist()


@pytest.mark.slow
def test_window_opens_and_closing_it_does_not_stop_the_robot(
    display: str, contract: Contract, capfd: pytest.CaptureFixture[str]
) -> None:
    driver = MujocoDriver(contract, DriverOptions(viewer=True, speed=0))
    assert driver._viewer is not None
    process = driver._viewer._frames._process
    assert process is not None
    readings, target = Readings.of(contract), np.array([joint.home_position for joint in contract.robot.joints])

    def drive(ticks: int) -> None:
        for _ in range(ticks):
            driver.read(readings)
            driver.write(target)
            assert np.isfinite(readings.vector).all()

    drive(50)
    time.sleep(5)
    assert process.poll() is None, "the window did not open"
    process.kill()
    process.wait()
    drive(5)
    driver.close()
    assert capfd.readouterr().err.count("viewer     closed") == 1
