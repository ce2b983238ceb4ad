"""What a server did, at its end: for people, and for `--json`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from runtime.control.goal_queue import Tracked
from runtime.control.loop import Loop
from runtime.control.policy_controller import PolicyController
from runtime.goals.markers import markers
from runtime.goals.progress import GoalState
from runtime.inference.policy import Policy
from runtime.options import ServeOptions
from runtime.realtime.missed_deadlines import MissedDeadlines
from runtime.server.control_link import ServerExchange
from runtime.status import known
from sim2real.contract import Contract

Summary = dict[str, Any]


def summary_of(
    options: ServeOptions, policy: Policy, loop: Loop, core: PolicyController, exchange: ServerExchange
) -> Summary:
    """Counts, latencies and goals of a run that is over."""
    statistics = loop.statistics
    return {
        "policy": options.model.name,
        "policy_sha256": policy.file_sha256,
        "contract_sha256": policy.contract.digest,
        "ticks": statistics.ticks,
        "overruns": statistics.overruns,
        "missed_periods": statistics.missed_periods,
        "early": statistics.early,
        "missed_by": asdict(statistics.missed_by),
        "lateness": statistics.lateness.summary(),
        "step": statistics.step.summary(),
        "tick": statistics.tick.summary(),
        "safety": core.safety.counters(),
        "without_effort": [joint.name for joint in policy.contract.robot.joints if joint.mode == "effort"],
        "goals": [_result(policy.contract, tracked) for tracked in exchange.listed],
        "status": core.status().model_dump(),
    }


def _result(contract: Contract, tracked: Tracked) -> Summary:
    request = tracked.goal.request
    places = markers(contract, request)
    return {
        "id": tracked.goal.id,
        "values": {name: list(request[part]) for name, part in contract.goal.layout(contract).slices.items()},
        "position": list(places[0].position) if places else None,
        "state": tracked.state.label,
        "reached": tracked.state is GoalState.REACHED,
        "time_s": known(round(tracked.time_s, 6)),
        "distance_m": known(tracked.distance_m),
        "angle_deg": known(tracked.angle_deg),
        "reachability": known(tracked.reachability),
    }


def print_summary(summary: Summary) -> None:
    """Print the summary in a few lines."""
    held = "its motors get no effort" if summary["without_effort"] else summary["rests"]
    if not summary["ticks"]:
        held = "the robot was told nothing"
    rest = held if summary["braked"] else "the robot was NOT braked"
    print(f"ended by {summary['ended_by']} after {summary['ticks']} ticks, {rest}")
    for name in ("lateness", "step", "tick"):
        part = summary[name]
        if part["count"]:
            print(
                f"{name:<10} p50 {part['p50_us']:.0f}  p99 {part['p99_us']:.0f}  p99.9 {part['p999_us']:.0f}  "
                f"max {part['max_us']:.0f} us"
            )
    why = MissedDeadlines(**summary["missed_by"]).line
    missed = f"missed     {summary['missed_periods']} periods in {summary['overruns']} overruns"
    print(f"{missed}: {why}" if why else missed, flush=True)
    for goal in summary["goals"]:
        outcome = "reached" if goal["reached"] else f"NOT reached, {goal['state']},"
        duration = "" if goal["time_s"] is None else f" after {goal['time_s']:.2f} s"
        distance = "" if goal["distance_m"] is None else f", {1e3 * goal['distance_m']:.1f} mm away"
        print(f"goal {goal['id']}  {outcome}{duration}{distance}")
