"""`runtime serve`: policy, driver, loop and gateway put together."""

from __future__ import annotations

import errno
import math
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from runtime.control.goal_queue import GoalQueue
from runtime.control.loop import Loop
from runtime.control.object_tracker import Tracker
from runtime.control.policy_controller import PolicyController
from runtime.control.telemetry import Telemetry
from runtime.drivers import base as drivers
from runtime.drivers import calls
from runtime.drivers.base import DriverFailed, DriverOverdue, open_chosen
from runtime.drivers.calls import DriverCalls
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
from runtime.process.output import take_time_for_last_words
from runtime.process.signals import EndingSignals, Patience
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
from runtime.server.last_resort import LastResort
from runtime.server.page_supervisor import PageSupervisor
from runtime.server.run import (
    CLOSED_WITHIN_S,
    LAST_RESORT_S,
    NOTICED_WITHIN_S,
    Ended,
    Server,
    close_driver,
    descriptors_closed,
    run,
)
from runtime.server.summary import Summary, print_summary, summary_of
from runtime.server.supervisor import GatewaySupervisor, Watching
from sim2real.contract import Contract
from sim2real.errors import ShoalError
from sim2real.files import require_writable, write_json

_LISTENER_PRIORITY = 1
"""SCHED_FIFO, so that whoever comes to stop the robot does not wait for ordinary processes."""
_EPISODES_PER_GOAL = 3
"""After which a goal of --goals without a timeout of its own is given up."""


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
    at_close: list[str] = []
    ended: Ended | None = None
    with _all_told(at_close), _with_closed_descriptors(), ExitStack() as stack:
        server = _put_together(options, policy, stack, at_close)
        _report(options, policy, server.driver, server.listening)
        safety, sources = server.core.safety, server.sources
        print(f"{rules.report(safety.layer)}\nestop by   {', '.join(sources.names)}", flush=True)
        measures = _apply_realtime(options)
        server.loop.spin_s = realtime.spin_s(None if options.spin_us is None else options.spin_us / 1e6, measures)
        stack.callback(realtime.release)
        stack.callback(server.supervisor.close)
        server.supervisor.start()
        ended = run(options, server)
    if ended is None:
        raise ShoalError(f"--robot {options.robot}: its start closed file descriptors that are the server's own.")
    take_time_for_last_words()
    failures = [*ended.failures, *at_close]
    summary = summary_of(options, policy, server.loop, server.core, server.exchange)
    summary |= {"ended_by": ended.reason, "braked": ended.braked, "failures": failures}
    summary["gateway_restarts"] = server.supervisor.restarts
    summary["realtime"] = [str(measure) for measure in measures]
    print_summary(summary)
    if options.json:
        write_json(options.json, summary)
    failures += [failure for failure in [server.supervisor.failure] if failure and failure not in failures]
    if failures:
        raise ShoalError("\n".join(failures))
    return summary


@contextmanager
def _with_closed_descriptors() -> Iterator[None]:
    """Whatever a driver has closed, what comes after the end of the run has its turn; see `descriptors_closed`."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.EBADF:
            raise


@contextmanager
def _all_told(at_close: list[str]) -> Iterator[None]:
    """Whoever hears why a start failed, hears what failed at its end, too."""
    try:
        yield
    except ShoalError as error:
        if at_close:
            raise ShoalError("\n".join([str(error), *at_close])) from error
        raise


def _put_together(options: ServeOptions, policy: Policy, stack: ExitStack, at_close: list[str]) -> Server:
    """Everything that a run needs; `stack` takes it apart again."""
    contract = policy.contract
    # First, and so last to go: whatever happens from here on, the driver is closed.
    signals = stack.enter_context(EndingSignals())
    patience = stack.enter_context(Patience(DriverOverdue, within=(drivers.__file__, calls.__file__)))
    listening = _listen(options, stack)
    sources = EstopSources(
        key=options.estop_key, file=options.estop_file, descriptor=options.estop_fd, beside=listening[0].address
    )
    stack.callback(sources.close)
    stack.callback(signal.signal, signal.SIGUSR1, signal.signal(signal.SIGUSR1, sources.on_signal))
    with patience.after(signals, NOTICED_WITHIN_S):
        driver = _open_driver(options, contract)
    seconds, close_s = LAST_RESORT_S + driver.period_s, CLOSED_WITHIN_S + LAST_RESORT_S
    last_resort = stack.enter_context(LastResort(driver, seconds=seconds, close_s=close_s))
    stack.callback(close_driver, driver, patience, at_close)
    core = _core(options, policy, driver)
    core.reachability_gate = _gate(options)
    slots = SharedSlots.create(contract)
    stack.callback(slots.close)
    listed = _list_goals(options, contract, slots)
    page = _page(options, listening[0].address, stack)
    watching = _watching(options, core, driver)
    stack.callback(watching.ring.close)
    driver.call, last_resort.on_end = slots.driver_call, slots.say_control_ends
    supervisor = _supervisor(options, contract, slots, listening, watching, page, driver.name)
    queue = GoalQueue(core, stall_after_s=_stall_after_s(options, contract))
    exchange = ServerExchange(slots, queue, supervisor, on_lease_lost=options.on_lease_lost, listed=listed)
    telemetry = Telemetry(watching.ring, core)
    tracker = Tracker(contract, slots.object, core.safety.config.object_stale_s)
    loop = Loop(driver, core, WatchedExchange(exchange, sources), telemetry=telemetry, tracker=tracker)
    return Server(listening, sources, driver, core, supervisor, exchange, loop, signals, patience)


def _listen(options: ServeOptions, stack: ExitStack) -> list[Listening]:
    listening = [Listening(Address(str(options.socket)) if options.socket else default_address(), option="--socket")]
    stack.callback(listening[0].close)
    if options.listen:
        address = Address(f"tcp://{options.listen}", with_token=options.token_file is not None)
        listening.append(Listening(address, option="--listen"))
        stack.callback(listening[1].close)
    return listening


def _open_driver(options: ServeOptions, contract: Contract) -> DriverCalls:
    if (options.video is not None or options.viewer) and options.robot != "mujoco":
        raise ShoalError(f"--video and --viewer show the driver mujoco only, not {options.robot}.")
    driver = open_chosen(
        options,
        contract,
        recover_reflexes=options.recover_reflexes,
        video=options.video,
        viewer=options.viewer,
    )
    try:
        return DriverCalls(driver)
    except DriverFailed:
        with suppress(Exception):
            driver.close()
        raise


def _supervisor(
    options: ServeOptions,
    contract: Contract,
    slots: SharedSlots,
    listening: list[Listening],
    watching: Watching,
    page: PageSupervisor | None,
    driver: str,
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
        descriptors_closed=descriptors_closed(driver),
    )


def _core(options: ServeOptions, policy: Policy, driver: DriverCalls) -> PolicyController:
    config = load_safety(options.safety) if options.safety is not None else SafetyConfig()
    model = getattr(driver.inner, "model", None) or find_model(policy.contract, options.mjcf)
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


def _watching(options: ServeOptions, core: PolicyController, driver: DriverCalls) -> Watching:
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


def _report(options: ServeOptions, policy: Policy, driver: DriverCalls, listening: list[Listening]) -> None:
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
