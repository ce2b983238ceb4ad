"""`runtime bench`: how long a tick takes here, back to back and paced as a robot would call it.

Only the paced numbers say anything about a robot: between two calls the caches cool down and the core halts.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from runtime.core import Core
from runtime.goals import ResolvedGoal
from runtime.latency import Histogram
from runtime.policy import Policy
from runtime.safety import Readings
from sim2real.errors import ShoalError

_WARM_UP = 200


def bench(path: Path, *, samples: int, rate_hz: float) -> dict[str, Any]:
    """Microseconds of the inference and of the whole tick (safety, inference, limits), hot, paced, and paced with
    a discarded inference just before, as `serve` does it.
    """
    if samples < 1 or not rate_hz > 0:
        raise ShoalError(f"bench: --samples must be at least 1 and --rate-hz positive, got {samples} and {rate_hz:g}.")
    policy = Policy(path)
    tick = _Tick(policy)
    for _ in range(_WARM_UP):
        tick()
    return {
        "policy": path.name,
        "contract_sha256": policy.contract.digest,
        "rate_hz": rate_hz,
        "inference_hot": _hot(policy.run, samples),
        "tick_hot": _hot(tick, samples),
        "tick_paced": _paced(tick, None, samples, rate_hz),
        "tick_paced_warm": _paced(tick, policy.run, samples, rate_hz),
        "exporting_machine": {
            "machine": policy.certificate.machine,
            "inference_p50_us": policy.certificate.tick_us_p50,
            "inference_p99_us": policy.certificate.tick_us_p99,
        },
    }


class _Tick:
    """A tick of an arm at home on its way to the middle of the goal box."""

    def __init__(self, policy: Policy) -> None:
        contract = policy.contract
        self._core = Core(policy)
        self._readings = Readings(len(contract.robot.joints))
        self._readings.joint_position[:] = [joint.home_rad for joint in contract.robot.joints]
        self._readings.end_effector_position[:] = contract.goal.position_min_m
        self._readings.end_effector_orientation[0] = 1.0
        self._out = np.zeros(len(contract.robot.joints))
        middle = np.add(contract.goal.position_min_m, contract.goal.position_max_m) / 2
        x, y, z = (float(value) for value in middle)
        goal = ResolvedGoal("bench", (x, y, z), contract.goal.default_orientation_wxyz, 0.01, 1.0, float("inf"))
        self._core.set_goal(goal, number=1, now_s=0.0)

    def __call__(self) -> None:
        self._core.step(self._readings, 0.0, self._out)


def _hot(function: Any, samples: int) -> Any:
    histogram = Histogram()
    for _ in range(samples):
        started = time.perf_counter_ns()
        function()
        histogram.record(time.perf_counter_ns() - started)
    return histogram.summary()


def _paced(function: Any, before: Any, samples: int, rate_hz: float) -> Any:
    histogram = Histogram()
    period = 1 / rate_hz
    deadline = time.perf_counter()
    for _ in range(samples):
        deadline = max(deadline + period, time.perf_counter())
        time.sleep(max(0.0, deadline - time.perf_counter()))
        if before is not None:
            before()
        started = time.perf_counter_ns()
        function()
        histogram.record(time.perf_counter_ns() - started)
    return histogram.summary()
