"""`runtime top`: a running server in a terminal, under the names of its Prometheus metrics."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from runtime.monitoring.metrics import METRICS
from runtime.protocol.client import Client
from runtime.protocol.snapshot import Latency, Snapshot
from sim2real.errors import ShoalError

_REFRESH_S = 0.25
_STYLES = {"active": "green", "ramp-in": "green", "hold": "yellow", "damp": "yellow", "estop": "bold red"}

VALUES: dict[str, Callable[[Snapshot], str]] = {
    "shoal_ticks": lambda snapshot: f"{snapshot.status.ticks}",
    "shoal_goals": lambda snapshot: f"{snapshot.goals}",
    "shoal_goals_reached": lambda snapshot: f"{snapshot.goals_reached}",
    "shoal_clamped": lambda snapshot: f"{snapshot.status.clamped}",
    "shoal_missed_periods": lambda snapshot: f"{snapshot.status.missed_periods}",
    "shoal_distance_m": lambda snapshot: _number(snapshot.status.distance_m, 4),
    "shoal_angle_deg": lambda snapshot: _number(snapshot.status.angle_deg, 1),
    "shoal_reachability": lambda snapshot: _number(snapshot.status.reachability, 2),
    "shoal_telemetry_lost": lambda snapshot: f"{snapshot.telemetry_lost}",
    "shoal_lateness_seconds": lambda snapshot: _latency(snapshot.lateness),
    "shoal_step_seconds": lambda snapshot: _latency(snapshot.step),
    "shoal_tick_seconds": lambda snapshot: _latency(snapshot.tick_time),
}
"""What is shown for each of `runtime.monitoring.metrics.METRICS`; counts are those since server or gateway started."""


def render(snapshot: Snapshot, holder: str = "") -> RenderableType:
    """The whole picture: state, metrics, joints, readings. `holder` is the name of the client with the lease."""
    status = snapshot.status
    state = Text.assemble((f"{status.state} ", _STYLES.get(status.state, "bold")), status.reason)
    goal = f"goal {status.goal_id}{' reached' if status.reached else ''}" if status.goal_id else "no goal"
    return Group(
        state, Text(f"{goal}, lease {holder or 'free'}"), _metrics(snapshot), _joints(snapshot), _readings(snapshot)
    )


def show(client: Client, *, once: bool = False) -> None:
    """Four times a second until Ctrl-C, or once. While the server does not answer, the sentence why is shown.

    Raises `ShoalError` when `once` finds no server.
    """
    if once:
        with Live(auto_refresh=False) as live:
            live.update(render(client.telemetry(), client.lease_holder()), refresh=True)
        return
    with Live(auto_refresh=False, screen=True) as live:
        while True:
            try:
                picture = render(client.telemetry(), client.lease_holder())
            except ShoalError as error:
                picture = Text(str(error), style="red")
            live.update(picture, refresh=True)
            time.sleep(_REFRESH_S)


def _metrics(snapshot: Snapshot) -> Table:
    table = Table("metric", "value", "", title=None, box=None, pad_edge=False)
    for name, metric in METRICS.items():
        table.add_row(name, VALUES[name](snapshot), Text(metric.text, style="dim"))
    return table


def _joints(snapshot: Snapshot) -> Table:
    told = "told, rad/s or rad" if snapshot.joint_command else "target, rad"
    table = Table("joint", "position, rad", "velocity, rad/s", told, box=None, pad_edge=False)
    command = snapshot.joint_command or snapshot.joint_position_target
    for index, name in enumerate(snapshot.joint_names):
        columns = (snapshot.joint_position, snapshot.joint_velocity, command)
        table.add_row(name, *(_number(column[index] if column else None, 3) for column in columns))
    return table


def _readings(snapshot: Snapshot) -> Table:
    """Lines of the readings that are not of joints, and of the goal."""
    table = Table("reading", "value", box=None, pad_edge=False)
    joints = len(snapshot.joint_names)
    for name, values in snapshot.readings.items():
        if len(values) != joints:
            table.add_row(name, "  ".join(_number(value, 3) for value in values))
    for name, values in snapshot.goal.items():
        table.add_row(name, "  ".join(_number(value, 3) for value in values), style="bold")
    return table


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _latency(latency: Latency) -> str:
    if not latency.count:
        return "-"
    return f"p50 {latency.p50_us / 1e6:.6f}  p99 {latency.p99_us / 1e6:.6f}  max {latency.max_us / 1e6:.6f}"
