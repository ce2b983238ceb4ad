"""`runtime serve`: policy, driver, loop and gateway put together."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

from runtime.control.goal_queue import GoalQueue, Tracked
from runtime.control.loop import Loop
from runtime.control.object_tracker import Tracker
from runtime.control.policy_controller import PolicyController
from runtime.control.telemetry import Telemetry
from runtime.drivers.base import Driver, open_chosen
from runtime.goals.messages import as_pose, load_goals, validate_goal
from runtime.goals.progress import GoalState
from runtime.goals.tool_pose import ToolPose
from runtime.inference import onnx_session
from runtime.inference.policy import Policy
from runtime.ipc.goal_slots import write_goal
from runtime.ipc.shared_memory import MAX_GOALS, SharedSlots
from runtime.ipc.telemetry_ring import Ring
from runtime.monitoring.status_line import DisplayKind
from runtime.native.build import load_ahead
from runtime.options import ServeOptions
from runtime.page.config import PageConfig, require_servable
from runtime.protocol.address import Address, default_address
from runtime.protocol.listening import Listening
from runtime.protocol.messages import PROTOCOL_VERSION
from runtime.protocol.token import read_token
from runtime.realtime import measures as realtime
from runtime.realtime.missed_deadlines import MissedDeadlines
from runtime.robot.model import find_model
from runtime.safety import SafetyConfig, clearance, load_safety, rules
from runtime.safety.geometry import geometry_checker_for
from runtime.server.control_link import ServerExchange
from runtime.server.estop_sources import EstopSources, WatchedExchange
from runtime.server.supervisor import GatewaySupervisor, Watching
from runtime.status import known
from sim2real.contract import Contract
from sim2real.errors import ShoalError
from sim2real.files import write_json

Summary = dict[str, Any]
_LISTENER_PRIORITY = 1
"""SCHED_FIFO, so that whoever comes to stop the robot does not wait for ordinary processes."""
_EPISODES_PER_GOAL = 3
"""After which a goal of --goals without a timeout of its own is given up."""


class _Ending:
    """Why and when the loop ends."""

    def __init__(self, options: ServeOptions, driver: Driver, exchange: ServerExchange) -> None:
        self._options, self._driver, self._exchange = options, driver, exchange
        self._started_s = driver.now_s()
        self.reason = ""

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Signal handler."""
        self.reason = signal.Signals(number).name

    def __call__(self) -> bool:
        duration = self._options.duration
        if self._exchange.stop_requested:
            self.reason = "stop request"
        elif duration is not None and self._driver.now_s() - self._started_s >= duration:
            self.reason = "duration"
        elif self._options.exit_after_goals and self._exchange.finished:
            self.reason = "goals done"
        return bool(self.reason)


def serve(options: ServeOptions) -> Summary:
    """Serve until a signal, a stop request or the end of `--duration`; returns the summary that is also printed.

    The robot holds its last target at the end. Raises `ShoalError` when policy, robot, goals or address do not
    fit, before anything moves.
    """
    if options.json is not None and not options.json.absolute().parent.is_dir():
        raise ShoalError(f"--json: there is no folder {options.json.parent}; create it first.")
    # A first start compiles this on one core and the policy on another.
    load_ahead(clearance.load)
    policy = Policy(options.model, engine=options.engine)
    if (options.video is not None or options.viewer) and options.robot != "mujoco":
        raise ShoalError(f"--video and --viewer show the driver mujoco only, not {options.robot}.")
    driver = open_chosen(
        options,
        policy.contract,
        recover_reflexes=options.recover_reflexes,
        video=options.video,
        viewer=options.viewer,
    )
    with ExitStack() as stack:
        stack.callback(driver.close)
        core = _core(options, policy, driver)
        core.reachability_gate = _gate(options)
        slots = SharedSlots.create()
        stack.callback(slots.close)
        listed = _list_goals(options, policy.contract, slots)
        token = read_token(options.token_file) if options.token_file else ""
        addresses = _addresses(options)
        listening = []
        for option, address in zip(("--socket", "--listen"), addresses, strict=False):
            listening.append(Listening(address, option=option))
            stack.callback(listening[-1].close)
        sources = EstopSources(
            key=options.estop_key, file=options.estop_file, descriptor=options.estop_fd, beside=addresses[0]
        )
        stack.callback(sources.close)
        display: DisplayKind = "none" if options.quiet else "live" if sys.stdout.isatty() else "plain"
        watching = _watching(options, core, driver)
        stack.callback(watching.ring.close)
        supervisor = GatewaySupervisor(
            policy.contract,
            slots,
            listening,
            display=display,
            watching=watching,
            token=token,
            mjcf=options.mjcf,
            fifo_priority=_LISTENER_PRIORITY if options.realtime and options.priority > _LISTENER_PRIORITY else None,
        )
        queue = GoalQueue(core, stall_after_s=_stall_after_s(options, policy.contract))
        exchange = ServerExchange(slots, queue, supervisor, on_lease_lost=options.on_lease_lost, listed=listed)
        telemetry = Telemetry(watching.ring, core)
        tracker = Tracker(slots.object, core.safety.config.object_stale_s)
        loop = Loop(driver, core, WatchedExchange(exchange, sources), telemetry=telemetry, tracker=tracker)
        ending = _Ending(options, driver, exchange)
        for number in (signal.SIGTERM, signal.SIGINT):
            stack.callback(signal.signal, number, signal.signal(number, ending.on_signal))
        stack.callback(signal.signal, signal.SIGUSR1, signal.signal(signal.SIGUSR1, sources.on_signal))
        _report(options, policy, driver, addresses)
        print(f"{rules.report(core.safety.layer)}\nestop by   {', '.join(sources.names)}", flush=True)
        measures = _apply_realtime(options)
        loop.spin_s = realtime.spin_s(None if options.spin_us is None else options.spin_us / 1e6, measures)
        stack.callback(realtime.release)
        stack.callback(supervisor.close)
        supervisor.start()
        loop.run(ending, on_first_tick=lambda: _report_ready(core))
        core.stop()
        loop.tick(time.perf_counter_ns())
    summary = _summary(options, policy, loop, core, exchange)
    summary |= {"ended_by": ending.reason, "gateway_restarts": supervisor.restarts}
    summary["realtime"] = [str(measure) for measure in measures]
    _print_summary(summary)
    if options.json:
        write_json(options.json, summary)
    return summary


def _core(options: ServeOptions, policy: Policy, driver: Driver) -> PolicyController:
    config = load_safety(options.safety) if options.safety is not None else SafetyConfig()
    model = getattr(driver, "model", None) or find_model(policy.contract, options.mjcf)
    geometry_checker = geometry_checker_for(model, policy.contract, config)
    return PolicyController(
        policy, safety=config, stale_after_periods=options.stale_after_periods, geometry_checker=geometry_checker
    )


def _addresses(options: ServeOptions) -> list[Address]:
    addresses = [Address(str(options.socket)) if options.socket else default_address()]
    if options.listen:
        addresses.append(Address(f"tcp://{options.listen}", with_token=options.token_file is not None))
    return addresses


def _gate(options: ServeOptions) -> float | None:
    gate = options.reachability_gate
    if gate == "off":
        return None
    if not 0 <= gate <= 1:
        raise ShoalError(f"--reachability-gate must be between 0 and 1, or off, got {gate:g}.")
    return gate


def _stall_after_s(options: ServeOptions, contract: Contract) -> float:
    horizon_s = options.stall_after_s
    if horizon_s == "off":
        return math.inf
    if horizon_s is None:
        return contract.timing.episode_s
    if not horizon_s > 0:
        raise ShoalError(f"--stall-after-s must be positive, or off, got {horizon_s:g}.")
    return horizon_s


def _list_goals(options: ServeOptions, contract: Contract, slots: SharedSlots) -> int:
    """Put the goals of `--goals` into the requests, before a gateway does; returns their number."""
    messages = load_goals(options.goals) if options.goals else []
    if len(messages) > MAX_GOALS:
        raise ShoalError(f"goals: {len(messages)} are too many, at most {MAX_GOALS}.")
    requests, limit_s = slots.requests.value[0], _EPISODES_PER_GOAL * contract.timing.episode_s
    kinematics = ToolPose(contract, options.mjcf)
    for number, given in enumerate(messages, start=1):
        message = as_pose(contract, given, kinematics).model_copy(update={"queue": True})
        goal = validate_goal(contract, message, time.time())
        write_goal(requests, number, goal._replace(valid_for_s=min(goal.valid_for_s, limit_s)), message, leased=False)
    requests["number"] = len(messages)
    if messages:
        slots.requests.write()
    return len(messages)


def _watching(options: ServeOptions, core: PolicyController, driver: Driver) -> Watching:
    """The telemetry ring and its readers; refuses what could not be written or served."""
    if options.record is not None:
        from runtime.recording.writer import require_writable

        require_writable(options.record)
    if options.metrics is not None:
        from runtime.monitoring.metrics import require_prometheus

        require_prometheus()
    page = _page(options)
    policy = core.policy
    facts = core.safety.facts | {
        "policy": options.model.name,
        "policy_sha256": policy.file_sha256,
        "contract_sha256": policy.contract.digest,
        "engine": policy.engine,
        "driver": driver.description,
        "reachability_gate": str(options.reachability_gate),
    }
    ring = Ring.of(policy.contract)
    return Watching(ring, options.record, facts, options.metrics, page)


def _page(options: ServeOptions) -> PageConfig | None:
    if options.page is None:
        return None
    if not 0 < options.page < 65536:
        raise ShoalError(f"--page must be a port between 1 and 65535, got {options.page}.")
    config = PageConfig(address=str(_addresses(options)[0]), port=options.page, mjcf=options.mjcf, supervised=True)
    require_servable(config)
    return config


def _apply_realtime(options: ServeOptions) -> list[realtime.Measure]:
    measures = realtime.apply(
        realtime.served_options(permitted=options.realtime, priority=options.priority, cpu=options.cpu)
    )
    print("realtime   " + "; ".join(str(measure) for measure in measures), flush=True)
    return measures


def _report(options: ServeOptions, policy: Policy, driver: Driver, addresses: list[Address]) -> None:
    contract = policy.contract
    telemetry = "telemetry off" if onnx_session.telemetry_prevented() else "TELEMETRY ON: imported before runtime"
    print(
        f"policy     {options.model.name}: task {contract.task}, contract {contract.digest[:12]}, "
        f"golden vectors within {policy.golden_error:.1e}\n"
        f"robot      {driver.description}, {len(contract.robot.joints)} joints, the contract's robot\n"
        f"loop       {1 / driver.period_s:g} Hz, control period {contract.timing.control_dt_s:g} s, "
        f"{policy.engine}, {telemetry}\n"
        f"listening  {', '.join(str(address) for address in addresses)}, protocol {PROTOCOL_VERSION}",
        flush=True,
    )


def _summary(
    options: ServeOptions, policy: Policy, loop: Loop, core: PolicyController, exchange: ServerExchange
) -> Summary:
    statistics = loop.statistics
    return {
        "policy": options.model.name,
        "policy_sha256": policy.file_sha256,
        "contract_sha256": policy.contract.digest,
        "ticks": statistics.ticks,
        "overruns": statistics.overruns,
        "missed_periods": statistics.missed_periods,
        "missed_by": asdict(statistics.missed_by),
        "lateness": statistics.lateness.summary(),
        "step": statistics.step.summary(),
        "tick": statistics.tick.summary(),
        "safety": core.safety.counters(),
        "goals": [_result(tracked) for tracked in exchange.listed],
        "status": core.status().model_dump(),
    }


def _result(tracked: Tracked) -> Summary:
    return {
        "id": tracked.goal.id,
        "position": list(tracked.goal.position),
        "state": tracked.state.label,
        "reached": tracked.state is GoalState.REACHED,
        "time_s": known(round(tracked.time_s, 6)),
        "distance_m": known(tracked.distance_m),
        "angle_deg": known(tracked.angle_deg),
        "reachability": known(tracked.reachability),
    }


def _print_summary(summary: Summary) -> None:
    print(f"ended by {summary['ended_by']} after {summary['ticks']} ticks, robot holds its position")
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


def _report_ready(core: PolicyController) -> None:
    if core.safety.config.effort_share is not None and not core.safety.measures_effort:
        print("safety off effort: the driver gives no effort", flush=True)
    print(f"ready      first command {_age_s():.2f} s after the start", flush=True)


def _age_s() -> float:
    """Since the process was started, the interpreter's own start included where the system tells."""
    try:
        started_ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started_ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError):
        return time.process_time()
