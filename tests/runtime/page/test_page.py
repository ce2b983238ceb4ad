"""What of the page needs no browser: its configuration, and small arithmetic."""

from __future__ import annotations

import math
import socket
from contextlib import ExitStack

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.page.config import PageConfig, listening_socket
from runtime.page.panel import rpy_deg
from runtime.page.readouts import problem_html, round_up
from runtime.page.web.gate import Doorstep, PeerRate
from runtime.robot.rotations import quaternion_of_rpy
from sim2real.errors import ShoalError
from sim2real.world.boxes import box_edges


def test_pages_that_others_can_reach_ask_for_a_code() -> None:
    assert not PageConfig(address="unix:///tmp/s").guarded
    assert PageConfig(address="unix:///tmp/s", ask_code=True).guarded
    assert PageConfig(address="unix:///tmp/s", host="0.0.0.0").guarded
    assert PageConfig(address="unix:///tmp/s", host="robot.lan").guarded


def test_peers_have_rates_of_their_own_within_bounds() -> None:
    now_s = 0.0
    rate = PeerRate(2.0, 3.0, clock=lambda: now_s)
    assert [rate.allows("a") for _ in range(5)] == [True, True, True, False, False]
    assert rate.allows("b")
    now_s = 0.5
    assert [rate.allows("a") for _ in range(2)] == [True, False]
    now_s = 100.0
    assert [rate.allows("a") for _ in range(4)] == [True, True, True, False]
    for number in range(5000):
        rate.allows(str(number))
    assert len(rate._left) <= 1024


def test_what_a_server_says_is_no_html() -> None:
    assert problem_html("") == ""
    assert "&lt;script&gt;" in problem_html("<script>")


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
        config = PageConfig(address="unix:///nowhere/s", port=taken.getsockname()[1])
        with pytest.raises(ShoalError, match=r"--page: cannot listen on 127.0.0.1:\d+ .*choose another port"):
            listening_socket(config)


def test_connections_wait_however_few_are_accepted_at_once() -> None:
    """Where one did not fit, its browser would ask again after a second only."""
    doorstep = Doorstep.at("127.0.0.1", 0)
    with ExitStack() as stack:
        stack.callback(doorstep.close)
        doorstep.listen(16)
        for _ in range(200):
            stack.enter_context(socket.create_connection(doorstep.getsockname(), timeout=0.9))
