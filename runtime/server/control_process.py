"""`runtime serve`: policy, driver, loop and gateway put together."""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from runtime.control.goal_queue import GoalQueue
from runtime.control.loop import Loop
from runtime.control.object_tracker import Tracker
from runtime.control.telemetry import Telemetry
from runtime.drivers.calls import DriverCalls
from runtime.inference import onnx_session
from runtime.inference.policy import Policy
from runtime.ipc.shared_memory import SharedSlots
from runtime.native.build import load_ahead
from runtime.options import ServeOptions, require_numbers
from runtime.process.output import take_time_for_last_words
from runtime.process.signals import EndingSignals
from runtime.protocol.listening import Listening
from runtime.protocol.messages import PROTOCOL_VERSION
from runtime.realtime import measures as realtime
from runtime.safety import clearance, rules
from runtime.server import parts
from runtime.server.control_link import ServerExchange
from runtime.server.estop_sources import EstopSources, WatchedExchange
from runtime.server.run import Ended, Server, run
from runtime.server.safeguards import Safeguards
from runtime.server.summary import Summary, print_summary, summary_of
from sim2real.errors import ShoalError
from sim2real.files import require_writable, write_json


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
    summary: Summary = {}
    with _all_told(at_close), _with_closed_descriptors(), ExitStack() as stack:
        server = _put_together(options, policy, stack, at_close)
        _report(options, policy, server.driver, server.listening)
        summary |= _served(options, policy, server)
    if not summary:
        raise ShoalError(f"--robot {options.robot}: its start closed file descriptors that are the server's own.")
    take_time_for_last_words()
    failures = summary["failures"]
    failures += at_close
    if options.json and at_close:
        write_json(options.json, summary)
    failure = server.supervisor.failure
    if failures or failure:
        raise ShoalError("\n".join(dict.fromkeys([*failures, failure] if failure else failures)))
    return summary


def _served(options: ServeOptions, policy: Policy, server: Server) -> Summary:
    """Run, end all but the driver, and tell the summary: who closes may take long, and end the process."""
    safety, sources = server.core.safety, server.sources
    ended: Ended | None = None
    print(f"{rules.report(safety.layer)}\nestop by   {', '.join(sources.names)}", flush=True)
    measures = _apply_realtime(options)
    server.loop.spin_s = realtime.spin_s(None if options.spin_us is None else options.spin_us / 1e6, measures)
    with _with_closed_descriptors(), ExitStack() as stack:
        stack.callback(realtime.release)
        stack.callback(server.supervisor.close)
        server.supervisor.start()
        ended = run(options, server)
    if ended is None:
        return {}
    take_time_for_last_words()
    summary = summary_of(options, policy, server.loop, server.core, server.exchange)
    summary |= {"ended_by": ended.reason, "braked": ended.braked, "failures": ended.failures}
    summary["rests"] = getattr(type(server.driver.inner), "rests", "robot holds its position")
    summary["gateway_restarts"] = server.supervisor.restarts
    summary["realtime"] = [str(measure) for measure in measures]
    print_summary(summary)
    if options.json:
        write_json(options.json, summary)
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
    listening = parts.listen(options, stack)
    sources = EstopSources(
        key=options.estop_key, file=options.estop_file, descriptor=options.estop_fd, beside=listening[0].address
    )
    stack.callback(sources.close)
    stack.callback(signal.signal, signal.SIGUSR1, signal.signal(signal.SIGUSR1, sources.on_signal))
    safeguards = stack.enter_context(Safeguards(options.robot, signals))
    driver = safeguards.open(options, contract)
    stack.callback(safeguards.close, driver, at_close)
    core = parts.core(options, policy, driver)
    core.reachability_gate = parts.gate(options)
    slots = SharedSlots.create(contract)
    stack.callback(slots.close)
    listed = parts.list_goals(options, contract, slots)
    page = parts.page(options, listening[0].address, stack)
    watching = parts.watching(options, core, driver)
    stack.callback(watching.ring.close)
    driver.call, safeguards.last_resort.on_end = slots.driver_call, slots.say_control_ends
    supervisor = parts.supervisor(options, contract, slots, listening, watching, page, driver.name)
    queue = GoalQueue(core, stall_after_s=parts.stall_after_s(options, contract))
    exchange = ServerExchange(slots, queue, supervisor, on_lease_lost=options.on_lease_lost, listed=listed)
    telemetry = Telemetry(watching.ring, core)
    tracker = Tracker(contract, slots.object, core.safety.config.object_stale_s)
    loop = Loop(driver, core, WatchedExchange(exchange, sources), telemetry=telemetry, tracker=tracker)
    return Server(listening, sources, driver, core, supervisor, exchange, loop, safeguards)


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
