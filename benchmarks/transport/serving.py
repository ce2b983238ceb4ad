"""Serves a policy file in real time and sends it goals, as a client of a robot would.

    served = serve_goals(Path("student.onnx"), goals, timeout_s=5.0)
    served["goals_reached"], served["tick_us"]["p99"]

The server is `runtime serve` with its own control and gateway processes; this process only is its client.
"""

from __future__ import annotations

import json
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.commands import console_script
from runtime.goals.messages import GoalPlanar, GoalPose
from runtime.protocol.client import Client
from runtime.status import GoalStatus
from sim2real.errors import ShoalError

_START_S = 30.0
_END_S = 10.0
_PERCENTILES = {"p50_us": "p50", "p99_us": "p99", "p999_us": "p999", "max_us": "max"}


def serve_goals(
    policy: Path,
    goals: Sequence[GoalPose | GoalPlanar],
    *,
    timeout_s: float,
    robot: Sequence[str] = ("--robot", "mujoco"),
    until_missed: bool = False,
    before_end: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """Send goals one after the other, wait up to `timeout_s` for each, end the server, and sum up. `robot` are options
    of `runtime serve` that say which robot. `until_missed` sends none after the first that is not reached.
    `before_end` is called while the server still drives the robot.

    Raises `ShoalError` when the server cannot start, refuses a goal, or ends badly.
    """
    # A socket's path may have at most about 100 bytes, so not in the caller's folder.
    with tempfile.TemporaryDirectory(prefix="shoal-") as scratch:
        socket, summary_path = Path(scratch) / "socket", Path(scratch) / "served.json"
        with _server(policy, socket, summary_path, robot) as process:
            _wait_until_ready(process, socket)
            visits = []
            for goal in goals:
                visits.append(_visit(str(socket), goal, timeout_s))
                if until_missed and not visits[-1]["reached"]:
                    break
            reason = _status(socket).reason
            before_end()
        if process.returncode != 0 or not summary_path.is_file():
            raise ShoalError(f"serve: `runtime serve` ended with exit status {process.returncode}.")
        summary = json.loads(summary_path.read_text())
    times = [visit["time_s"] for visit in visits if visit["reached"]]
    return {
        "goals_sent": len(visits),
        "goals_reached": len(times),
        "median_time_s": statistics.median(times) if times else None,
        "ticks": summary["ticks"],
        "overruns": summary["overruns"],
        "missed_periods": summary["missed_periods"],
        "tick_us": _times(summary["step"]),
        "loop_us": _times(summary["tick"]),
        "lateness_us": _times(summary["lateness"]),
        "realtime": summary["realtime"],
        "reason": reason,
        "goals": visits,
    }


@contextmanager
def _server(policy: Path, socket: Path, summary: Path, robot: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A running `runtime serve`, told to end when the block is left, and killed if it does not."""
    command = [*console_script("runtime"), "serve", "--model", str(policy), *robot]
    process = subprocess.Popen([*command, "--socket", str(socket), "--json", str(summary), "--quiet"])
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], socket: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ShoalError(f"serve: `runtime serve` ended at once with exit status {process.returncode}.")
        if socket.exists() and _status(socket).ticks > 0:
            return
        time.sleep(0.05)
    raise ShoalError(f"serve: `runtime serve` was not ready after {_START_S:g} s.")


def _status(socket: Path) -> GoalStatus:
    with Client(str(socket), timeout_s=_START_S) as client:
        return client.status()


def _visit(address: str, goal: GoalPose | GoalPlanar, timeout_s: float) -> dict[str, Any]:
    started = time.monotonic()
    with Client(address, timeout_s=_START_S) as client:
        client.send_goal(goal)
        status = client.wait_until_reached(timeout_s)
    return _asked(goal) | {
        "reached": status.reached,
        "time_s": round(time.monotonic() - started, 3),
        "distance_m": status.distance_m,
        "angle_deg": status.angle_deg,
        "reachability": status.reachability,
    }


def _asked(goal: GoalPose | GoalPlanar) -> dict[str, Any]:
    if isinstance(goal, GoalPlanar):
        return {"planar": list(goal.planar)}
    return {"position": list(goal.position), "orientation_wxyz": list(goal.quaternion() or ())}


def _times(summary: dict[str, float]) -> dict[str, float]:
    return {short: summary[long] for long, short in _PERCENTILES.items()}
