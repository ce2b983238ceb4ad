"""`runtime serve`: policy, driver, loop and gateway put together."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np

from runtime.control.goal_queue import GoalQueue
from runtime.control.loop import Loop
from runtime.control.object_tracker import Tracker
from runtime.control.policy_controller import PolicyController
from runtime.control.telemetry import Telemetry
from runtime.drivers.base import Driver, open_chosen
from runtime.goals.messages import load_goals
from runtime.goals.resolve import validate_goal
from runtime.goals.tool_pose import ToolPose
from runtime.inference import onnx_session
from runtime.inference.policy import Policy
from runtime.ipc.goal_slots import write_goal
from runtime.ipc.shared_memory import MAX_GOALS, SharedSlots
from runtime.ipc.telemetry_ring import Ring
from runtime.native.build import load_ahead
from runtime.options import ServeOptions, require_numbers
from runtime.page.config import PageConfig
from runtime.process.signals import EndingSignals
from runtime.protocol.address import Address, default_address, require_port
from runtime.protocol.listening import Listening
from runtime.protocol.messages import PROTOCOL_VERSION
from runtime.protocol.token import read_token
from runtime.realtime import measures as realtime
from runtime.robot.model import find_model
from runtime.safety import SafetyConfig, clearance, load_safety, rules
from runtime.safety.geometry import geometry_checker_for
from runtime.server.control_link import ServerExchange
from runtime.server.estop_sources import EstopSources, WatchedExchange
from runtime.server.page_supervisor import PageSupervisor
from runtime.server.summary import Summary, print_summary, summary_of
from runtime.server.supervisor import GatewaySupervisor, Watching
from sim2real.contract import Contract
from sim2real.errors import ShoalError
from sim2real.files import require_writable, write_json

_LISTENER_PRIORITY = 1
"""SCHED_FIFO, so that whoever comes to stop the robot does not wait for ordinary processes."""
_AT_REST, _LONGEST_BRAKING_S = 1e-5, 2.0
"""A target that moves less in a tick (rad or m) rests; an emergency stop's only comes ever closer to the joints."""
_EPISODES_PER_GOAL = 3
"""After which a goal of --goals without a timeout of its own is given up."""


class _Ending:
    """Why and when the loop ends."""

    def __init__(
        self,
        options: ServeOptions,
        driver: Driver,
        exchange: ServerExchange,
        signals: EndingSignals,
        supervisor: GatewaySupervisor,
    ) -> None:
        self._options, self._driver, self._exchange = options, driver, exchange
        self._signals, self._supervisor = signals, supervisor
        self._started_s = driver.now_s()
        self.reason = ""

    def __call__(self) -> bool:
        duration = self._options.duration
        if self._signals():
            self.reason = self._signals.received
        elif self._supervisor.failure:
            self.reason = "the gateway's failure"
        elif self._exchange.stop_requested:
            self.reason = "stop request"
        elif duration is not None and self._driver.now_s() - self._started_s >= duration:
            self.reason = "duration"
        elif self._options.exit_after_goals and self._exchange.finished:
            self.reason = "goals done"
        return bool(self.reason)


class _Server(NamedTuple):
    """What one run is made of."""

    listening: list[Listening]
    sources: EstopSources
    driver: Driver
    core: PolicyController
    supervisor: GatewaySupervisor
    exchange: ServerExchange
    loop: Loop
    signals: EndingSignals


def serve(options: ServeOptions) -> Summary:
    """Serve until a signal, a stop request or the end of `--duration`; returns the summary that is also printed.

    The robot brakes at the end and holds its last target. Raises `ShoalError` when policy, robot, goals, addresses or
    anything optional does not fit, before anything moves.
    """
    if options.json is not None:
        require_writable(options.json, what="--json")
    require_numbers(options)
    # A first start compiles this on one core and the policy on another.
    load_ahead(clearance.load)
    policy = Policy(options.model, engine=options.engine)
    with ExitStack() as stack:
        server = _put_together(options, policy, stack)
        _report(options, policy, server.driver, server.listening)
        safety, sources = server.core.safety, server.sources
        print(f"{rules.report(safety.layer)}\nestop by   {', '.join(sources.names)}", flush=True)
        measures = _apply_realtime(options)
        server.loop.spin_s = realtime.spin_s(None if options.spin_us is None else options.spin_us / 1e6, measures)
        stack.callback(realtime.release)
        stack.callback(server.supervisor.close)
        server.supervisor.start()
        ended_by = _run(options, server)
    summary = summary_of(options, policy, server.loop, server.core, server.exchange)
    summary |= {"ended_by": ended_by, "gateway_restarts": server.supervisor.restarts}
    summary["realtime"] = [str(measure) for measure in measures]
    print_summary(summary)
    if options.json:
        write_json(options.json, summary)
    if server.supervisor.failure:
        raise ShoalError(server.supervisor.failure)
    return summary


def _put_together(options: ServeOptions, policy: Policy, stack: ExitStack) -> _Server:
    """Everything that a run needs; `stack` takes it apart again."""
    contract = policy.contract
    # First, and so last to go: whatever happens from here on, the driver is closed.
    signals = stack.enter_context(EndingSignals())
    listening = _listen(options, stack)
    sources = EstopSources(
        key=options.estop_key, file=options.estop_file, descriptor=options.estop_fd, beside=listening[0].address
    )
    stack.callback(sources.close)
    stack.callback(signal.signal, signal.SIGUSR1, signal.signal(signal.SIGUSR1, sources.on_signal))
    driver = _open_driver(options, contract)
    stack.callback(driver.close)
    core = _core(options, policy, driver)
    core.reachability_gate = _gate(options)
    slots = SharedSlots.create(contract)
    stack.callback(slots.close)
    listed = _list_goals(options, contract, slots)
    page = _page(options, listening[0].address, stack)
    watching = _watching(options, core, driver)
    stack.callback(watching.ring.close)
    supervisor = _supervisor(options, contract, slots, listening, watching, page)
    queue = GoalQueue(core, stall_after_s=_stall_after_s(options, contract))
    exchange = ServerExchange(slots, queue, supervisor, on_lease_lost=options.on_lease_lost, listed=listed)
    telemetry = Telemetry(watching.ring, core)
    tracker = Tracker(contract, slots.object, core.safety.config.object_stale_s)
    loop = Loop(driver, core, WatchedExchange(exchange, sources), telemetry=telemetry, tracker=tracker)
    return _Server(listening, sources, driver, core, supervisor, exchange, loop, signals)


def _run(options: ServeOptions, server: _Server) -> str:
    """Returns what ended the run, in words."""
    ending = _Ending(options, server.driver, server.exchange, server.signals, server.supervisor)
    ready = _Ready(server.core, server.supervisor)

    def should_end() -> bool:
        ready.tell()
        return ending()

    server.loop.run(should_end, on_first_tick=ready.ticked)
    _brake(server.loop, server.core)
    return ending.reason


def _listen(options: ServeOptions, stack: ExitStack) -> list[Listening]:
    listening = [Listening(Address(str(options.socket)) if options.socket else default_address(), option="--socket")]
    stack.callback(listening[0].close)
    if options.listen:
        address = Address(f"tcp://{options.listen}", with_token=options.token_file is not None)
        listening.append(Listening(address, option="--listen"))
        stack.callback(listening[1].close)
    return listening


def _open_driver(options: ServeOptions, contract: Contract) -> Driver:
    if (options.video is not None or options.viewer) and options.robot != "mujoco":
        raise ShoalError(f"--video and --viewer show the driver mujoco only, not {options.robot}.")
    return open_chosen(
        options,
        contract,
        recover_reflexes=options.recover_reflexes,
        video=options.video,
        viewer=options.viewer,
    )


def _supervisor(
    options: ServeOptions,
    contract: Contract,
    slots: SharedSlots,
    listening: list[Listening],
    watching: Watching,
    page: PageSupervisor | None,
) -> GatewaySupervisor:
    animated = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    return GatewaySupervisor(
        contract,
        slots,
        listening,
        display="none" if options.quiet else "live" if animated else "plain",
        watching=watching,
        token=read_token(options.token_file) if options.token_file else "",
        mjcf=options.mjcf,
        fifo_priority=_LISTENER_PRIORITY if options.realtime and options.priority > _LISTENER_PRIORITY else None,
        page=page,
    )


def _brake(loop: Loop, core: PolicyController) -> None:
    """Tick until the robot's target is at rest; the last target is what it holds from now on."""
    core.stop()
    target, end_s = core.safety.target.copy(), time.monotonic() + _LONGEST_BRAKING_S

    def at_rest() -> bool:
        moved = float(np.abs(core.safety.target - target).max())
        np.copyto(target, core.safety.target)
        return moved < _AT_REST or time.monotonic() > end_s

    loop.run(at_rest)


def _core(options: ServeOptions, policy: Policy, driver: Driver) -> PolicyController:
    config = load_safety(options.safety) if options.safety is not None else SafetyConfig()
    model = getattr(driver, "model", None) or find_model(policy.contract, options.mjcf)
    geometry_checker = geometry_checker_for(model, policy.contract, config)
    return PolicyController(
        policy, safety=config, stale_after_periods=options.stale_after_periods, geometry_checker=geometry_checker
    )


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
        message = given.model_copy(update={"queue": True})
        goal = validate_goal(contract, message, time.time(), kinematics)
        write_goal(requests, number, goal._replace(valid_for_s=min(goal.valid_for_s, limit_s)), message, leased=False)
    requests["number"] = len(messages)
    if messages:
        slots.requests.write()
    return len(messages)


def _watching(options: ServeOptions, core: PolicyController, driver: Driver) -> Watching:
    """The telemetry ring and its readers; refuses what could not be written or served."""
    if options.record is not None:
        from runtime.recording.writer import require_recordable

        require_recordable(options.record)
    _require_metrics(options)
    policy = core.policy
    facts = core.safety.facts | {
        "policy": options.model.name,
        "policy_sha256": policy.file_sha256,
        "contract_sha256": policy.contract.digest,
        "engine": policy.engine,
        "driver": driver.description,
        "reachability_gate": str(options.reachability_gate),
    }
    ring = Ring.create(policy.contract)
    return Watching(ring, options.record, facts, options.metrics)


def _require_metrics(options: ServeOptions) -> None:
    """Raise `ShoalError` unless the metrics could be served."""
    if options.metrics is not None:
        from runtime.monitoring.metrics import require_prometheus

        require_port(options.metrics, option="--metrics")
        require_prometheus()
        Listening(Address(f"tcp://127.0.0.1:{options.metrics}"), option="--metrics").close()


def _page(options: ServeOptions, address: Address, stack: ExitStack) -> PageSupervisor | None:
    """Has the page's port from now on. Raises `ShoalError` when there could be no page."""
    if options.page is None:
        return None
    require_port(options.page, option="--page")
    config = PageConfig(address=str(address), port=options.page, mjcf=options.mjcf, ask_code=options.page_code)
    page = PageSupervisor(config, hurried=options.realtime)
    stack.callback(page.end)
    return page


def _apply_realtime(options: ServeOptions) -> list[realtime.Measure]:
    measures = realtime.apply(
        realtime.served_options(permitted=options.realtime, priority=options.priority, cpu=options.cpu)
    )
    print("realtime   " + "; ".join(str(measure) for measure in measures), flush=True)
    return measures


def _report(options: ServeOptions, policy: Policy, driver: Driver, listening: list[Listening]) -> None:
    contract = policy.contract
    telemetry = "telemetry off" if onnx_session.telemetry_prevented() else "TELEMETRY ON: imported before runtime"
    print(
        f"policy     {options.model.name}: task {contract.task}, contract {contract.digest[:12]}, "
        f"golden vectors within {policy.golden_error:.1e}\n"
        f"robot      {driver.description}, {len(contract.robot.joints)} joints, the contract's robot\n"
        f"loop       {1 / driver.period_s:g} Hz, control period {contract.timing.control_dt_s:g} s, "
        f"{policy.engine}, {telemetry}\n"
        f"listening  {', '.join(str(part.address) for part in listening)}, protocol {PROTOCOL_VERSION}",
        flush=True,
    )


class _Ready:
    """Says that the server is ready once it is: the first command is out, the gateway answers clients, and browsers can
    open the page, if there is one; or says that they cannot.
    """

    def __init__(self, core: PolicyController, supervisor: GatewaySupervisor) -> None:
        self._core, self._supervisor = core, supervisor
        self._first_s = 0.0
        self._told = False

    def ticked(self) -> None:
        """The first command is out."""
        self._first_s = _age_s()

    def tell(self) -> None:
        """Report readiness, once; called after every tick."""
        if not self._told and self._supervisor.settled:
            self._told = True
            if self._core.safety.config.effort_share is not None and not self._core.safety.measures_effort:
                print("safety off effort: the driver gives no effort", flush=True)
            if problem := self._supervisor.problem:
                print(problem, flush=True)
            print(f"ready      first command {self._first_s:.2f} s after the start", flush=True)


def _age_s() -> float:
    """Since the process was started, the interpreter's own start included where the system tells."""
    try:
        started_ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started_ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError):
        return time.process_time()
