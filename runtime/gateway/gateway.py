"""Answers requests: the gateway without its sockets."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

import numpy as np

from runtime.drivers.calls import CALLS
from runtime.gateway.lease import Authority
from runtime.gateway.object_reports import Reports
from runtime.goals.markers import markers
from runtime.goals.messages import AnyGoal, GoalRefused, ResolvedGoal, parse_any_goal
from runtime.goals.progress import GoalProgress, GoalState, Why
from runtime.goals.resolve import validate_goal
from runtime.goals.tool_pose import ToolPose
from runtime.ipc.goal_slots import find_goal, live_goals, write_goal
from runtime.ipc.shared_memory import MAX_GOALS, SharedSlots
from runtime.monitoring.telemetry_reader import TelemetryReader
from runtime.protocol.messages import (
    Accepted,
    CancelRequest,
    DescribeRequest,
    DescriptionReply,
    EstopRequest,
    GoalRequest,
    GoalsReply,
    GoalsRequest,
    HelloRequest,
    LeaseReply,
    LeaseRequest,
    Message,
    ObjectReport,
    Refused,
    ReleaseRequest,
    Request,
    StatusReply,
    StatusRequest,
    StopRequest,
    SubscribeRequest,
    TelemetryReply,
    TelemetryRequest,
    Welcome,
    encode,
)
from runtime.safety import SafetyConfig
from runtime.status import GoalStatus, Reason, State, known
from sim2real.contract import Contract
from sim2real.errors import ShoalError

_SILENT_S = 2.0
_ESTOP = "the robot is in emergency stop; release it first (runtime release)."


class Gateway:
    """Keeps the requests of all clients and answers; a new one goes on from what it finds in shared memory."""

    def __init__(
        self,
        contract: Contract,
        slots: SharedSlots,
        watch: TelemetryReader,
        *,
        facts: dict[str, str] | None = None,
        mjcf: Path | None = None,
    ) -> None:
        self._contract, self._slots, self._watch, self._facts = contract, slots, watch, facts or {}
        self._kinematics = ToolPose(contract, mjcf)
        slots.requests.read()
        self._requests: np.void = slots.requests.value[0]
        self._authority = Authority(self._requests)
        self._reports = Reports(contract, slots.object, _settings(self._facts))
        self.changes = 0
        """Counts the changes of goals that this gateway has seen; see `look`."""
        self._progress: tuple[GoalProgress, ...] = ()
        self._news = b""
        self._progress_of = self._news_of = -1

    def answer(self, request: Request) -> Message:
        """The reply to one request."""
        if self._authority.renew(request.lease):
            self._slots.requests.write()
        match request:
            case GoalRequest() | CancelRequest() | StopRequest() | ReleaseRequest():
                objection = self._authority.objection(request.lease)
                return Refused(reason=objection) if objection else self._command(request)
            case EstopRequest():
                return Accepted(number=self._publish(mark="estop"))
            case LeaseRequest():
                return self._lease(request)
            case ObjectReport():
                return self._reports.take(request, int(self._requests["number"]))
            case StatusRequest():
                return status_reply(self.status(), self._authority)
            case GoalsRequest() | SubscribeRequest():
                return self.goals()
            case TelemetryRequest():
                return TelemetryReply(telemetry=self._watch.snapshot(self.status(), self._request_in_force()))
            case DescribeRequest():
                return DescriptionReply(contract=self._contract, facts=self._facts)
            case HelloRequest():
                return Welcome()

    def status(self) -> GoalStatus:
        """What the control loop wrote last."""
        slot = self._slots.status
        slot.read()
        return status_of(slot.value[0], self._contract, int(self._slots.driver_call[0]))

    def look(self) -> int:
        """See whether goals have changed; returns `changes`."""
        self.changes += self._slots.goals.read()
        return self.changes

    def goals(self) -> GoalsReply:
        """All records, oldest first."""
        number = self.status().goal_number
        if self.look() != self._progress_of:
            # Once for all who ask and all who are told of the change.
            self._progress_of = self.changes
            record = self._slots.goals.value[0]
            rows = sorted((row for row in record["goals"] if row["number"]), key=lambda row: int(row["number"]))
            self._progress = tuple(_progress(self._contract, row, int(record["in_force"])) for row in rows)
        return GoalsReply(number=number, goals=self._progress)

    def news(self) -> bytes:
        """The goals as a line, encoded once for all subscribers of a change."""
        if self.look() != self._news_of:
            self._news = encode(self.goals())
            self._news_of = self.changes
        return self._news

    def _command(self, request: GoalRequest | CancelRequest | StopRequest | ReleaseRequest) -> Message:
        match request:
            case GoalRequest():
                return self._take_goal(request)
            case CancelRequest():
                return self._cancel(request.id)
            case StopRequest():
                self._requests["stop"] = 1
                return Accepted(number=self._publish())
            case ReleaseRequest():
                self._requests["release_after"] = -1 if request.estops is None else request.estops
                return Accepted(number=self._publish(mark="release"))

    def _take_goal(self, request: GoalRequest) -> Message:
        try:
            message = parse_any_goal(request.goal)
            goal = self._resolve(message)
        except ShoalError as error:
            return Refused(reason=str(error))
        number, leased = int(self._requests["number"]) + 1, self._authority.holds(request.lease)
        at_rest = self._prune()
        # A client that got no answer, because the gateway died say, asks again.
        for earlier in find_goal(self._requests, goal, message, leased=leased) - {at_rest}:
            return Accepted(id=goal.id, number=earlier)
        if not write_goal(self._requests, number, goal, message, leased=leased):
            return Refused(reason=f"{MAX_GOALS} goals are in force or waiting already; cancel some first.")
        return Accepted(id=goal.id, number=self._publish())

    def _resolve(self, message: AnyGoal) -> ResolvedGoal:
        status = self.status()
        if int(self._requests["estop"]) > int(self._requests["release"]) or status.state == "estop":
            raise GoalRefused(_ESTOP)
        if status.age_s > _SILENT_S:
            raise GoalRefused(f"{status.reason}.")
        return validate_goal(self._contract, message, time.time(), self._kinematics)

    def _cancel(self, goal_id: str | None) -> Message:
        if goal_id is None:
            return Accepted(number=self._publish(mark="cancel"))
        self._prune()
        entries = self._requests["goals"]
        wanted = live_goals(self._requests) & (entries["id"] == goal_id.encode())
        if not wanted.any():
            return Refused(reason=f"no goal {goal_id!r} is in force or waiting.")
        entries["cancelled"][wanted] = int(self._requests["number"]) + 1
        return Accepted(number=self._publish())

    def _prune(self) -> int:
        """Forget goals that the control loop is done with, but the one at which it rests; returns that one's number."""
        # The loop writes goals before status, so the other way round nothing looks older than it is.
        taken = self.status().goal_number
        self.look()
        record = self._slots.goals.value[0]
        states = {int(row["number"]): GoalState(int(row["state"])) for row in record["goals"]}
        at_rest = 0
        for entry in self._requests["goals"]:
            number = int(entry["number"])
            if number <= taken and states.get(number, GoalState.CANCELLED).final:
                if number == record["in_force"]:
                    at_rest = number
                else:
                    entry["number"] = 0
        return at_rest

    def _lease(self, request: LeaseRequest) -> Message:
        authority = self._authority
        if request.action == "acquire" and (authority.holds(request.lease) or not authority.remaining_s):
            lease = authority.acquire(request.name, request.duration_s)
        elif not authority.holds(request.lease):
            return Refused(reason=authority.objection(request.lease) or "there is no lease; acquire one.")
        elif request.action == "end":
            authority.end()
            lease = ""
        else:
            lease = request.lease or ""
        self._slots.requests.write()
        return LeaseReply(lease=lease, expires_in_s=authority.remaining_s)

    def _request_in_force(self) -> list[float] | None:
        self.look()
        record = self._slots.goals.value[0]
        for row in record["goals"]:
            if row["number"] and row["number"] == record["in_force"]:
                request: list[float] = row["request"].tolist()
                return request
        return None

    def _publish(self, *, mark: Literal["estop", "release", "cancel"] | None = None) -> int:
        number = int(self._requests["number"]) + 1
        self._requests["number"] = number
        if mark is not None:
            self._requests[mark] = number
        self._slots.requests.write()
        return number


def _progress(contract: Contract, row: np.void, in_force: int) -> GoalProgress:
    state, request = GoalState(int(row["state"])), row["request"].tolist()
    places = markers(contract, request)
    return GoalProgress(
        id=bytes(row["id"]).decode(),
        number=int(row["number"]),
        state=state.label,
        reason=Why(int(row["why"])).sentence,
        final=state.final,
        in_force=int(row["number"]) == in_force,
        priority=int(row["priority"]),
        accepted_stamp=int(row["accepted_ns"]) / 1e9,
        stamp=int(row["changed_ns"]) / 1e9,
        values={name: tuple(request[part]) for name, part in contract.goal.layout(contract).slices.items()},
        position=places[0].position if places else None,
        orientation_wxyz=(places[0].orientation_wxyz or contract.default_orientation_wxyz) if places else None,
        distance_m=known(row["distance_m"]),
        angle_deg=known(row["angle_deg"]),
        reachability=known(row["reachability"]),
        time_s=known(row["time_s"]),
    )


def _settings(facts: dict[str, str]) -> SafetyConfig:
    return SafetyConfig.model_validate_json(facts["safety"]) if "safety" in facts else SafetyConfig()


def _silence(age_s: float, call: int) -> str:
    """Why the control loop writes no status any more; empty as long as it does."""
    if age_s < _SILENT_S:
        return ""
    what = f"the driver's {CALLS[call]} has not returned" if call else "the control loop has not ticked"
    return f"{what} for {age_s:.1f} s, and the robot has been told nothing since"


def status_of(record: np.void, contract: Contract, call: int = 0) -> GoalStatus:
    """What a record of `STATUS_DTYPE` says; `call` is the driver's that is under way, see `SharedSlots.driver_call`."""
    age_s = max(0.0, (time.monotonic_ns() - int(record["written_ns"])) / 1e9) if record["written_ns"] else 0.0
    reachability = known(record["reachability"])
    reason = Reason(int(record["reason"])) if record["written_ns"] else Reason.NO_GOAL
    return GoalStatus(
        state=State(int(record["state"])).label,
        reason=_silence(age_s, call) or reason.told(bytes(record["detail"]).decode(errors="ignore")),
        goal_id=bytes(record["goal_id"]).decode(),
        goal_number=int(record["goal_number"]),
        distance_m=known(record["distance_m"]),
        angle_deg=known(record["angle_deg"]),
        reachability=reachability,
        reachable=None if reachability is None else reachability >= contract.reachability.threshold,
        within_tolerance=bool(record["within_tolerance"]),
        reached=bool(record["reached"]),
        ticks=int(record["ticks"]),
        holds=int(record["holds"]),
        clamped=int(record["clamped"]),
        estops=int(record["estops"]),
        missed_periods=int(record["missed_periods"]),
        age_s=age_s,
    )


def status_reply(status: GoalStatus, authority: Authority) -> StatusReply:
    """The answer to a status request."""
    return StatusReply(status=status, lease_holder=authority.holder, lease_remaining_s=authority.remaining_s)
