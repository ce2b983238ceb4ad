"""What of the page needs no browser: who may drive, who may connect, and small arithmetic."""

from __future__ import annotations

import math
import socket
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.page.charts import round_up
from runtime.page.config import PageConfig
from runtime.page.control import Control, same_origin
from runtime.page.panel import rpy_deg
from runtime.page.scene import box_edges
from runtime.robot.rotations import quaternion_of_rpy


def test_one_browser_at_a_time_has_control() -> None:
    control = Control(guarded=False)
    assert control.take(1) == ""
    assert control.take(1) == ""
    assert "Browser 1 has control" in control.take(2)
    assert not control.drop(2)
    assert control.drop(1)
    assert control.take(2) == ""


def test_control_over_a_network_needs_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.page.control._WRONG_CODE_S", 0.0)
    control = Control(guarded=True)
    assert len(control.code) == 6
    for wrong in ("", "0", control.code + "0", "ä"):
        assert "not the code" in control.take(1, wrong)
    assert control.holder is None
    assert control.take(1, f" {control.code} ") == ""


@pytest.mark.parametrize(
    ("origin", "asked_for", "allowed"),
    [
        (None, "127.0.0.1:8080", True),  # no browser
        ("http://127.0.0.1:8080", "127.0.0.1:8080", True),
        ("http://localhost:9000", "localhost:9000", True),  # through a tunnel
        ("http://[::1]:8080", "[::1]:8080", True),
        ("http://robot.lan:8080", "robot.lan:8080", True),  # the configured name
        ("https://evil.example", "127.0.0.1:8080", False),
        ("http://evil.example:8080", "evil.example:8080", False),  # a foreign name that points here
        ("http://localhost:8081", "localhost:8080", False),
        ("null", "127.0.0.1:8080", False),
        ("", "127.0.0.1:8080", False),
    ],
)
def test_only_the_page_itself_may_open_its_websocket(origin: str | None, asked_for: str, allowed: bool) -> None:
    headers = {"Host": asked_for} | ({} if origin is None else {"Origin": origin})
    assert same_origin(headers, "robot.lan") is allowed


def test_loopback_by_default() -> None:
    assert PageConfig(address="unix:///tmp/s").loopback
    assert not PageConfig(address="unix:///tmp/s", host="0.0.0.0").loopback


angles = st.floats(-math.pi, math.pi)


@given(roll=angles, pitch=st.floats(-1.5, 1.5), yaw=angles)
def test_roll_pitch_yaw_and_back(roll: float, pitch: float, yaw: float) -> None:
    first = np.array(quaternion_of_rpy(roll, pitch, yaw))
    again = np.array(quaternion_of_rpy(*(math.radians(angle) for angle in rpy_deg(tuple(first)))))
    assert abs(float(first @ again)) == pytest.approx(1.0, abs=1e-9)


@given(st.floats(1e-9, 1e9))
def test_charts_end_at_a_round_number(value: float) -> None:
    top = round_up(value)
    assert value <= top * (1 + 1e-6)
    assert top <= 2.5 * value * (1 + 1e-6)
    assert f"{top:.6e}"[0] in "125"
    assert round_up(0.0) == round_up(-1.0) == 1.0


def test_a_box_has_twelve_edges() -> None:
    edges = box_edges(np.zeros(3), np.array([1.0, 2.0, 3.0]))
    assert edges.shape == (12, 2, 3)
    assert sorted(np.linalg.norm(edges[:, 1] - edges[:, 0], axis=1)) == [1.0] * 4 + [2.0] * 4 + [3.0] * 4


def test_a_taken_port_is_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        config = PageConfig(address="unix:///nowhere/s", port=taken.getsockname()[1], supervised=True)
        page = subprocess.run(
            [sys.executable, "-m", "runtime.page"],
            input=config.model_dump_json() + "\n",
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert page.returncode == 1
    assert "--page: cannot listen on 127.0.0.1:" in page.stderr
    assert "Traceback" not in page.stderr
