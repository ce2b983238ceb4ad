from __future__ import annotations

import io
import re
from collections.abc import Callable

import pytest
from prometheus_client import generate_latest
from rich.console import Console

from runtime.control.loop import Loop
from runtime.control.policy_controller import PolicyController
from runtime.control.telemetry import Telemetry
from runtime.drivers.base import DriverOptions
from runtime.drivers.mujoco import MujocoDriver
from runtime.goals.messages import GoalPose
from runtime.goals.resolve import validate_goal
from runtime.inference.policy import Policy
from runtime.ipc.telemetry_ring import Ring
from runtime.monitoring.metrics import METRICS, Metrics
from runtime.monitoring.telemetry_reader import TelemetryReader
from runtime.monitoring.telemetry_sink import TelemetrySink
from runtime.monitoring.top import VALUES, render
from runtime.protocol.snapshot import Snapshot
from tests.runtime.control.test_loop import NoExchange

Ran = tuple[Snapshot, str]


@pytest.fixture
def ran(policy: Policy) -> Ran:
    """The same 200 ticks, as the dashboard and as Prometheus see them."""
    ring, core, metrics = Ring.create(policy.contract), PolicyController(policy), Metrics()
    sink = TelemetrySink("metrics", metrics.update, lambda: None)
    watch = TelemetryReader(ring, policy.contract, sinks=[sink])
    driver = MujocoDriver(policy.contract, DriverOptions(speed=0))
    loop = Loop(driver, core, NoExchange(), telemetry=Telemetry(ring, core))
    for number in range(200):
        if number in (1, 100):
            goal = validate_goal(policy.contract, GoalPose(position=(0.45, 0.1, 0.45)), 0.0)
            core.set_goal(goal, number=number, now_s=driver.now_s())
        loop.tick(0)
    snapshot = watch.snapshot(core.status(), None)
    ring.close()
    sink.close()
    return snapshot, generate_latest(metrics.registry).decode()


def text_of(snapshot: Snapshot, holder: str = "") -> str:
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(render(snapshot, holder))
    return console.export_text()


def test_dashboard_and_prometheus_have_the_same_names(ran: Ran) -> None:
    _, exposed = ran
    served = set(re.findall(r"^# HELP (\w+?)(?:_total)? ", exposed, re.MULTILINE))
    assert served - {f"{name}_created" for name in METRICS} == set(METRICS) == set(VALUES)


@pytest.mark.parametrize(
    ("series", "value"),
    [
        ("shoal_goals_total", lambda shown: shown.goals),
        ("shoal_goals_reached_total", lambda shown: shown.goals_reached),
        ("shoal_clamped", lambda shown: shown.status.clamped),
        ("shoal_distance_m", lambda shown: shown.status.distance_m),
        ("shoal_reachability", lambda shown: shown.status.reachability),
        ("shoal_tick_seconds_count", lambda shown: shown.tick_time.count),
        ("shoal_telemetry_lost", lambda shown: shown.telemetry_lost),
    ],
)
def test_values_agree(ran: Ran, series: str, value: Callable[[Snapshot], float]) -> None:
    snapshot, exposed = ran
    found = re.search(rf"^{series} (\S+)$", exposed, re.MULTILINE)
    assert found is not None
    assert float(found.group(1)) == pytest.approx(value(snapshot))
    assert snapshot.goals == snapshot.goals_reached == 2


def test_dashboard_shows_state_lease_and_joints(ran: Ran) -> None:
    snapshot, _ = ran
    text = text_of(snapshot, "inspection")
    assert "following the goal" in text
    assert "lease inspection" in text
    assert "shoal_ticks" in text
    assert "200" in text
    for name in snapshot.joint_names:
        assert name in text


def test_dashboard_before_the_first_tick(ran: Ran) -> None:
    snapshot, _ = ran
    empty = {"count": 0, "p50_us": 0.0, "p99_us": 0.0, "p999_us": 0.0, "max_us": 0.0}
    bare = Snapshot.model_validate(
        {"status": {"state": "idle", "reason": "no goal was given yet"}, "frame": "world", "step": empty}
        | {"joint_names": snapshot.joint_names, "lateness": empty, "tick_time": empty}
    )
    assert "no goal, lease free" in text_of(bare)
