"""The smooth way through streamed poses, and the stream that sends it."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.policies.streaming import Arguments, measure
from runtime.goals.following import Limits, PoseFollower
from runtime.protocol.goal_stream import GoalStream
from runtime.status import Reason
from sim2real.errors import ShoalError
from tests.runtime.server.test_server import PATIENCE_S, Server

ROOT = Path(__file__).parents[3]
LIMITS = Limits()
DOWN = (0.0, 1.0, 0.0, 0.0)


def followed(follower: PoseFollower, times_s: np.ndarray) -> np.ndarray:
    return np.array([follower.at(float(now_s))[0] for now_s in times_s])


def test_a_jump_is_followed_within_the_limits_and_not_overshot() -> None:
    follower = PoseFollower(LIMITS)
    follower.target((0.0, 0.0, 0.0), None, 0.0)
    follower.target((0.6, 0.0, 0.0), None, 0.1)
    times_s = np.arange(0.1, 3.0, 0.004)
    way = followed(follower, times_s)[:, 0]
    speed = np.diff(way) / 0.004
    assert speed.max() <= LIMITS.speed_m_s + 1e-6
    assert speed.max() > 0.9 * LIMITS.speed_m_s
    assert np.abs(np.diff(speed)).max() / 0.004 <= LIMITS.acceleration_m_s2 + 1e-6
    assert way.max() <= 0.6 + 1e-3
    assert way[-1] == pytest.approx(0.6, abs=1e-4)


def test_no_more_poses_means_rest_at_the_last_one() -> None:
    follower = PoseFollower(LIMITS)
    for index in range(10):
        follower.target((0.01 * index, 0.0, 0.0), None, index / 30)
    way = followed(follower, np.arange(0.3, 4.0, 0.01))
    assert way[:, 0].max() <= 0.09 + 1e-3
    assert way[-1] == pytest.approx([0.09, 0.0, 0.0], abs=1e-4)
    # A pause of an hour costs no time to go through.
    assert follower.at(3600.0)[0] == pytest.approx((0.09, 0.0, 0.0), abs=1e-6)


def test_orientations_take_the_shorter_way_whatever_their_sign() -> None:
    follower = PoseFollower(LIMITS)
    half = math.radians(10) / 2
    follower.target((0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), 0.0)
    follower.target((0.0, 0.0, 0.0), (-math.cos(half), 0.0, 0.0, -math.sin(half)), 0.1)
    turned = []
    for now_s in np.arange(0.1, 3.0, 0.02):
        w, x, y, z = follower.at(float(now_s))[1] or DOWN
        assert math.hypot(w, x, y, z) == pytest.approx(1)
        turned.append(math.degrees(2 * math.atan2(z * np.sign(w), abs(w))))
    assert max(turned) <= 10.1
    assert min(turned) >= -0.1
    assert turned[-1] == pytest.approx(10, abs=0.01)


def test_what_makes_no_sense_is_refused() -> None:
    follower = PoseFollower(LIMITS)
    with pytest.raises(ValueError, match="no pose has come yet"):
        follower.at(0.0)
    follower.target((0.0, 0.0, 0.0), DOWN, 0.0)
    with pytest.raises(ValueError, match="either all have an orientation or none"):
        follower.target((0.0, 0.0, 0.0), None, 0.1)
    with pytest.raises(ShoalError, match="gap_s 0 should be positive"):
        GoalStream(gap_s=0)


def test_followed_targets_jerk_at_most_a_third_of_those_passed_through() -> None:
    passed, smooth = measure(ROOT / "models" / "franka_reach.onnx", Arguments(quick=True))
    assert smooth["jerk_peak_rad_s3"] < passed["jerk_peak_rad_s3"] / 3
    assert smooth["behind_mm"] < 80


def test_a_stream_moves_the_robot_and_a_gap_holds_it(policy_path: Path, tmp_path: Path) -> None:
    server = Server(policy_path, tmp_path, "--quiet")
    try:
        with server.client() as client:
            client.status()
            with GoalStream(str(server.socket), gap_s=1.0) as stream:
                deadline = time.monotonic() + PATIENCE_S
                states, index = set(), 0
                while "active" not in states:
                    assert time.monotonic() < deadline, states
                    stream.send((0.45 + 0.0005 * (index % 100), 0.1, 0.45))
                    states.add(client.status().state)
                    index += 1
                    time.sleep(0.03)
                while (status := client.status()).state != "hold":
                    assert time.monotonic() < deadline, status
                    time.sleep(0.05)
                assert stream.refused == ""
                assert status.reason == Reason.GOAL_EXPIRED.sentence
                stream.send((9.0, 0.1, 0.45))
                while not stream.refused:
                    assert time.monotonic() < deadline
                    stream.send((9.0, 0.1, 0.45))
                    time.sleep(0.03)
                assert "outside" in stream.refused
    finally:
        server.process.terminate()
        server.output()
