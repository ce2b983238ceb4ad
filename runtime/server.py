"""`runtime serve`: policy, driver, loop and gateway put together."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any

from runtime import ort, realtime
from runtime.core import Core
from runtime.drivers.base import Driver, DriverOptions, open_driver
from runtime.exchange import GoalSequence, ServerExchange
from runtime.goals import load_goals
from runtime.loop import Loop
from runtime.options import ServeOptions
from runtime.policy import Policy
from runtime.protocol import PROTOCOL_VERSION, Address, default_address
from runtime.safety import SafetyConfig, load_safety, rules
from runtime.safety.geometry import find_model, guard_for
from runtime.safety.sources import EstopSources, WatchedExchange
from runtime.shared_memory import SharedSlots
from runtime.supervisor import DisplayKind, GatewaySupervisor, Watching
from runtime.telemetry import Ring, Telemetry
from sim2real.errors import ShoalError

Summary = dict[str, Any]


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
        elif self._options.exit_after_goals and self._exchange.sequence.finished:
            self.reason = "goals done"
        return bool(self.reason)


def serve(options: ServeOptions) -> Summary:
    """Serve until a signal, a stop request or the end of `--duration`; returns the summary that is also printed.

    The robot holds its last target at the end. Raises `ShoalError` when policy, robot, goals or address do not
    fit, before anything moves.
    """
    if options.json is not None and not options.json.absolute().parent.is_dir():
        raise ShoalError(f"--json: there is no folder {options.json.parent}; create it first.")
    policy = Policy(options.model, engine=options.engine)
    robot_options = DriverOptions(options.mjcf, options.speed, options.host, options.recover_reflexes)
    driver = open_driver(options.robot, policy.contract, robot_options)
    with ExitStack() as stack:
        stack.callback(driver.close)
        core = _core(options, policy, driver)
        sources = EstopSources(key=options.estop_key, file=options.estop_file, descriptor=options.estop_fd)
        stack.callback(sources.close)
        sequence = GoalSequence(policy.contract, load_goals(options.goals) if options.goals else [])
        slots = SharedSlots.create()
        stack.callback(slots.close)
        addresses = _addresses(options)
        display: DisplayKind = "none" if options.quiet else "live" if sys.stdout.isatty() else "plain"
        watching = _watching(options, core, driver)
        stack.callback(watching.ring.close)
        supervisor = GatewaySupervisor(policy.contract, slots, addresses, display=display, watching=watching)
        exchange = ServerExchange(slots, sequence, supervisor)
        telemetry = Telemetry(watching.ring, core)
        loop = Loop(driver, core, WatchedExchange(exchange, sources), spin_s=options.spin_us / 1e6, telemetry=telemetry)
        ending = _Ending(options, driver, exchange)
        for number in (signal.SIGTERM, signal.SIGINT):
            stack.callback(signal.signal, number, signal.signal(number, ending.on_signal))
        stack.callback(signal.signal, signal.SIGUSR1, signal.signal(signal.SIGUSR1, sources.on_signal))
        _report(options, policy, driver, addresses)
        print(f"{rules.report(core.safety, policy.contract)}\nestop by   {', '.join(sources.names)}", flush=True)
        measures = _apply_realtime(options)
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
        options.json.write_text(json.dumps(summary, indent=2) + "\n")
    return summary


def _core(options: ServeOptions, policy: Policy, driver: Driver) -> Core:
    config = load_safety(options.safety) if options.safety is not None else SafetyConfig()
    model = getattr(driver, "model", None) or find_model(policy.contract, options.mjcf)
    guard = guard_for(model, policy.contract, config)
    return Core(policy, safety=config, stale_after_periods=options.stale_after_periods, guard=guard)


def _addresses(options: ServeOptions) -> list[Address]:
    addresses = [Address(str(options.socket)) if options.socket else default_address()]
    if options.listen:
        addresses.append(Address(f"tcp://{options.listen}"))
    return addresses


def _watching(options: ServeOptions, core: Core, driver: Driver) -> Watching:
    """The telemetry ring and its readers; refuses what could not be written or served."""
    if options.record is not None:
        from runtime.recording.writer import require_writable

        require_writable(options.record)
    if options.metrics is not None:
        from runtime.metrics import require_prometheus

        require_prometheus()
    policy = core.policy
    facts = core.safety.facts | {
        "policy": options.model.name,
        "policy_sha256": policy.file_sha256,
        "contract_sha256": policy.contract.digest,
        "driver": driver.description,
    }
    ring = Ring.create(len(policy.contract.joint_names))
    return Watching(ring, options.record, facts, options.metrics)


def _apply_realtime(options: ServeOptions) -> list[realtime.Measure]:
    if not options.realtime:
        wanted = realtime.RealtimeOptions(fifo_priority=None, cpu=options.cpu, lock_memory=False)
    else:
        wanted = realtime.RealtimeOptions(fifo_priority=options.priority, cpu=options.cpu)
    measures = realtime.apply(wanted)
    print("realtime   " + "; ".join(str(measure) for measure in measures), flush=True)
    return measures


def _report(options: ServeOptions, policy: Policy, driver: Driver, addresses: list[Address]) -> None:
    contract = policy.contract
    telemetry = "telemetry off" if ort.telemetry_prevented() else "TELEMETRY ON: it was imported before runtime"
    print(
        f"policy     {options.model.name}: task {contract.task}, contract {contract.digest[:12]}, "
        f"golden vectors within {policy.golden_error:.1e}\n"
        f"robot      {driver.description}, {len(contract.robot.joints)} joints, the contract's robot\n"
        f"loop       {1 / driver.period_s:g} Hz, control period {contract.timing.control_dt_s:g} s, "
        f"{policy.engine}, {telemetry}\n"
        f"listening  {', '.join(str(address) for address in addresses)}, protocol {PROTOCOL_VERSION}",
        flush=True,
    )


def _summary(options: ServeOptions, policy: Policy, loop: Loop, core: Core, exchange: ServerExchange) -> Summary:
    statistics = loop.statistics
    return {
        "policy": options.model.name,
        "policy_sha256": policy.file_sha256,
        "contract_sha256": policy.contract.digest,
        "ticks": statistics.ticks,
        "overruns": statistics.overruns,
        "missed_periods": statistics.missed_periods,
        "lateness": statistics.lateness.summary(),
        "step": statistics.step.summary(),
        "tick": statistics.tick.summary(),
        "safety": core.safety.counters(),
        "goals": exchange.sequence.results,
        "status": core.status().model_dump(),
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
    print(f"missed     {summary['missed_periods']} periods in {summary['overruns']} overruns", flush=True)
    for goal in summary["goals"]:
        outcome = "reached" if goal["reached"] else "NOT reached"
        distance = "" if goal["distance_m"] is None else f", {1e3 * goal['distance_m']:.1f} mm away"
        print(f"goal {goal['id']}  {outcome} after {goal['time_s']:.2f} s{distance}")


def _report_ready(core: Core) -> None:
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
