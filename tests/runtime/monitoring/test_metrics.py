from __future__ import annotations

import re
import time
import urllib.request

from prometheus_client import generate_latest

from runtime.control.loop import Loop
from runtime.control.policy_controller import PolicyController
from runtime.control.telemetry import Telemetry
from runtime.drivers.base import DriverOptions
from runtime.drivers.mujoco import MujocoDriver
from runtime.goals.messages import GoalPose
from runtime.goals.resolve import validate_goal
from runtime.inference.policy import Policy
from runtime.ipc.telemetry_ring import Ring
from runtime.monitoring.metrics import Metrics
from tests.runtime.control.test_loop import NoExchange


def test_metrics_count_what_the_loop_did(policy: Policy) -> None:
    ring, core, metrics = Ring.create(policy.contract), PolicyController(policy), Metrics()
    driver = MujocoDriver(policy.contract, DriverOptions(speed=0))
    loop = Loop(driver, core, NoExchange(), telemetry=Telemetry(ring, core))
    loop.tick(0)
    goal = GoalPose(position=(0.45, 0.1, 0.45))
    core.set_goal(validate_goal(policy.contract, goal, time.time()), number=1, now_s=driver.now_s())
    while not core.reached and core.safety.ticks < 500:
        loop.tick(0)
    metrics.update(ring.drain(), ring.lost)
    text = generate_latest(metrics.registry).decode()
    assert 'shoal_ticks_total{reason="no_goal",state="idle"} 1.0' in text
    counts = re.findall(r'shoal_ticks_total\{reason="following",state="(?:active|ramp-in)"\} (\S+)', text)
    assert sum(map(float, counts)) == core.safety.ticks - 1
    assert "shoal_goals_reached_total 1.0" in text
    assert f"shoal_step_seconds_count {core.safety.ticks:.1f}" in text
    server = metrics.serve(0)
    with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics", timeout=5) as answer:
        assert b"shoal_distance_m" in answer.read()
    server.shutdown()
    ring.close()
