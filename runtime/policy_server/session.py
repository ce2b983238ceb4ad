"""What the policy server keeps for one connection, and how it answers.

    session = Session(policy)
    session.request["joint_position"][:] = ...           # views on one request, see `runtime.policy_server.packets`
    session.answer(time_s, age_s, reset=False)
    session.reply["command"]

A session is the served robot's `PolicyController`: the checks of the readings, the policy, and the limits and states of
the safety layer are the same. It keeps exactly this, until the connection ends:

- the safety layer: the joint position target, which starts at the first trustworthy measured joints and from then on
  moves as its limits allow, its state, and its counters;
- the goal in force, and since when the tool has been within its tolerance;
- the time up to which commands were given out: a request that comes more than half a control period early is
  answered with the last command, so that asking more often does not move the robot faster.
"""

from __future__ import annotations

import math
import time
from contextlib import suppress
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.control.policy_controller import PolicyController
from runtime.goals.messages import GoalRefused, parse_any_goal
from runtime.goals.resolve import validate_goal
from runtime.inference.policy import Policy
from runtime.policy_server.packets import goal_sizes, reply_dtype, request_dtype
from runtime.realtime.cadence import CellRate
from runtime.robot.readings import Readings
from runtime.safety import GeometryChecker, SafetyConfig
from sim2real.errors import ShoalError
from sim2real.terms import Part

_JITTER = 0.5
"""Of a control period, by which a request may come early."""


class Session:
    """One client's robot. `geometry_checker` judges commands by the robot's geometry and may be shared by sessions."""

    def __init__(
        self, policy: Policy, *, safety: SafetyConfig | None = None, geometry_checker: GeometryChecker | None = None
    ) -> None:
        self.core = PolicyController(policy, safety=safety, geometry_checker=geometry_checker)
        self.contract = policy.contract
        self.request_record = np.zeros(1, request_dtype(self.contract))
        self.reply_record = np.zeros(1, reply_dtype(len(self.contract.joint_names)))
        self.request: dict[str, NDArray[Any]] = _views(self.request_record)
        """Fields of the request, writable: `[size]` each."""
        self.reply: dict[str, NDArray[Any]] = _views(self.reply_record)
        """Fields of the reply, written by `answer`."""
        self._readings = Readings.of(self.contract)
        # The readings lie side by side in a request, in the order of `Readings.vector`.
        start = self.request_record.dtype.fields[next(iter(self._readings.named))][1]  # type: ignore[index]
        self._measured = np.frombuffer(self.request_record, np.float64, self._readings.vector.size, start)
        self._command, self._effort = self.reply["command"], self.request["joint_effort"]
        self._period_s = self.contract.timing.control_dt_s
        self._goal_parts = self.contract.goal.parts()
        self._needed = [part for part in self._goal_parts if part.default is None] or self._goal_parts
        """Without any of which there is no goal."""
        self._goal_fields = [self.request[name] for name in goal_sizes(self.contract)]
        self._goal_bytes = b""
        self._goal_refusal = ""
        self._goals = 0
        self._last_s = -math.inf
        self._rate = self._new_rate()

    def answer(self, time_s: float, age_s: float, *, reset: bool) -> None:
        """Work out `reply` from `request`. `time_s` is the client's clock, `age_s` the age of its readings.

        Raises `ShoalError` when there is no answer: a goal that must not be followed, or numbers that make no
        sense. The robot should then keep its last target.
        """
        if not math.isfinite(time_s):
            raise ShoalError(f"request.time_s is {time_s}; send the time of your clock in seconds.")
        if reset or time_s < self._last_s:
            self.core.restart(time_s)
            self._rate = self._new_rate()
        self._last_s = time_s
        self._take_goal(time_s)
        repeated = self._rate.is_early(time_s)
        if not repeated:
            np.copyto(self._readings.vector, self._measured)
            np.copyto(self._readings.joint_effort, self._effort)
            self._readings.time_s = time_s - age_s
            if not self.core.step(self._readings, time_s, self._command):
                self._command.fill(math.nan)
        self._fill_reply(repeated)

    def warm_up(self) -> None:
        """Answer what lies in `request` as a session of its own that nothing follows: call it shortly before `answer`,
        and `answer` finds warm caches.

        It writes the policy's inputs and outputs, which `answer` writes again, and nothing else of this session; a
        geometry_checker, which only judges, is asked as in an answer.
        """
        warm_up_session = self._warm_up_session
        np.copyto(warm_up_session.request_record, self.request_record)
        # From where the joints are, each time: what was warmed up before is not what they did.
        warm_up_session.core.safety.restart()
        warm_up_session.core.safety.start(warm_up_session.request[self.contract.action.measured])
        with suppress(ShoalError):
            warm_up_session.answer(max(warm_up_session._rate.due_s, 0.0), 0.0, reset=False)

    @cached_property
    def _warm_up_session(self) -> Session:
        core = self.core
        return Session(core.policy, safety=core.safety.config, geometry_checker=core.safety.geometry_checker)

    def _take_goal(self, now_s: float) -> None:
        given = b"".join([field.tobytes() for field in self._goal_fields])
        if given != self._goal_bytes:
            self._goal_bytes, self._goal_refusal = given, ""
            self._goals += 1
            if self.core.goal is not None:
                self.core.cancel_goal(number=self._goals)
            if any(map(self._is_given, self._needed)):
                self._set_goal(now_s)
        if self._goal_refusal:
            raise GoalRefused(self._goal_refusal)

    def _is_given(self, part: Part) -> bool:
        return not np.isnan(self.request[part.input]).all()

    def _set_goal(self, now_s: float) -> None:
        given = {part.input: self.request[part.input].tolist() for part in self._goal_parts if self._is_given(part)}
        try:
            goal = validate_goal(self.contract, parse_any_goal({"values": given}), time.time())
        except GoalRefused as error:
            # Remembered, so that it is said again for every request that repeats the goal.
            self._goal_refusal = str(error)
            return
        self.core.set_goal(goal, number=self._goals, now_s=now_s)

    def _new_rate(self) -> CellRate:
        return CellRate(self._period_s, _JITTER * self._period_s)

    def _fill_reply(self, repeated: bool) -> None:
        core, reply = self.core, self.reply
        reply["reachability"][0] = core.reachability
        reply["distance_m"][0], reply["angle_deg"][0] = core.distance_m, core.angle_deg
        reply["state"][0], reply["reason"][0] = core.safety.state, core.safety.reason
        reply["commanding"][0], reply["reached"][0] = core.safety.started, core.reached
        reply["repeated"][0] = repeated


def _views(record: NDArray[np.void]) -> dict[str, NDArray[Any]]:
    assert record.dtype.names is not None
    views = {}
    for name in record.dtype.names:
        array = record[name]
        views[name] = array[0] if array.ndim > 1 else array
    return views
