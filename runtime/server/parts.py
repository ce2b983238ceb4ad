"""The parts of a server, each made of the command line's options; what does not fit is refused, and nothing moves."""

from __future__ import annotations

import math
import os
import sys
import time
from contextlib import ExitStack

from runtime.control.policy_controller import PolicyController
from runtime.drivers.calls import DriverCalls
from runtime.goals.messages import load_goals
from runtime.goals.resolve import validate_goal
from runtime.goals.tool_pose import ToolPose
from runtime.inference.policy import Policy
from runtime.ipc.goal_slots import write_goal
from runtime.ipc.shared_memory import MAX_GOALS, SharedSlots
from runtime.ipc.telemetry_ring import Ring
from runtime.options import ServeOptions
from runtime.page.config import PageConfig
from runtime.protocol.address import Address, default_address, require_port
from runtime.protocol.listening import Listening
from runtime.protocol.token import read_token
from runtime.robot.model import find_model
from runtime.safety import SafetyConfig, load_safety
from runtime.safety.geometry import geometry_checker_for
from runtime.server.page_supervisor import PageSupervisor
from runtime.server.run import descriptors_closed
from runtime.server.supervisor import GatewaySupervisor, Watching
from sim2real.contract import Contract
from sim2real.errors import ShoalError

_LISTENER_PRIORITY = 1
"""SCHED_FIFO, so that whoever comes to stop the robot does not wait for ordinary processes."""
_EPISODES_PER_GOAL = 3
"""After which a goal of --goals without a timeout of its own is given up."""


def listen(options: ServeOptions, stack: ExitStack) -> list[Listening]:
    """The addresses for clients, this machine's own first."""
    listening = [Listening(Address(str(options.socket)) if options.socket else default_address(), option="--socket")]
    stack.callback(listening[0].close)
    if options.listen:
        address = Address(f"tcp://{options.listen}", with_token=options.token_file is not None)
        listening.append(Listening(address, option="--listen"))
        stack.callback(listening[1].close)
    return listening


def supervisor(
    options: ServeOptions,
    contract: Contract,
    slots: SharedSlots,
    listening: list[Listening],
    watching: Watching,
    page: PageSupervisor | None,
    driver: str,
) -> GatewaySupervisor:
    """Not started yet."""
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


def core(options: ServeOptions, policy: Policy, driver: DriverCalls) -> PolicyController:
    """Policy and safety layer; the driver's own model of its robot comes before the one that ships."""
    config = load_safety(options.safety) if options.safety is not None else SafetyConfig()
    model = getattr(driver.inner, "model", None) or find_model(policy.contract, options.mjcf)
    geometry_checker = geometry_checker_for(model, policy.contract, config)
    return PolicyController(
        policy, safety=config, stale_after_periods=options.stale_after_periods, geometry_checker=geometry_checker
    )


def gate(options: ServeOptions) -> float | None:
    """The least reachability of a goal that is taken; None for none."""
    gate = options.reachability_gate
    if gate == "off":
        return None
    if not 0 <= gate <= 1:
        raise ShoalError(f"--reachability-gate must be between 0 and 1, or off, got {gate:g}.")
    return gate


def stall_after_s(options: ServeOptions, contract: Contract) -> float:
    """After how long without progress a goal is given up."""
    horizon_s = options.stall_after_s
    if horizon_s == "off":
        return math.inf
    if horizon_s is None:
        return contract.timing.episode_s
    if not horizon_s > 0:
        raise ShoalError(f"--stall-after-s must be positive, or off, got {horizon_s:g}.")
    return horizon_s


def list_goals(options: ServeOptions, contract: Contract, slots: SharedSlots) -> int:
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


def watching(options: ServeOptions, core: PolicyController, driver: DriverCalls) -> Watching:
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


def page(options: ServeOptions, address: Address, stack: ExitStack) -> PageSupervisor | None:
    """Has the page's port from now on. Raises `ShoalError` when there could be no page."""
    if options.page is None:
        return None
    require_port(options.page, option="--page")
    config = PageConfig(
        address=str(address),
        host=options.page_host,
        port=options.page,
        mjcf=options.mjcf,
        ask_code=options.page_code,
    )
    page = PageSupervisor(config, hurried=options.realtime)
    stack.callback(page.end)
    return page
