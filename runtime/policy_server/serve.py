"""`runtime policy-server`: policy, sockets and signals put together."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

from runtime.inference.policy import Policy
from runtime.options import PolicyServerOptions
from runtime.policy_server.client import default_socket
from runtime.policy_server.packets import VERSION
from runtime.policy_server.server import Listener, PacketListener, PolicyServer
from runtime.policy_server.session import Session
from runtime.process.signals import EndingSignals
from runtime.protocol.address import host_and_port
from runtime.protocol.token import read_token
from runtime.realtime import measures as realtime
from runtime.robot.model import find_model
from runtime.safety import SafetyConfig, load_safety, rules
from runtime.safety.geometry import geometry_checker_for
from sim2real.errors import ShoalError


def serve(options: PolicyServerOptions) -> None:
    """Serve until a signal asks for the end; raises `ShoalError` when policy or addresses do not fit."""
    policy = Policy(options.model, engine=options.engine)
    contract = policy.contract
    safety = load_safety(options.safety) if options.safety is not None else SafetyConfig()
    geometry_checker = geometry_checker_for(find_model(contract, options.mjcf), contract, safety)
    make_session = partial(Session, policy, safety=safety, geometry_checker=geometry_checker)
    first = make_session()  # so that wrong settings are refused before anyone connects
    with ExitStack() as stack:
        ending = stack.enter_context(EndingSignals())
        listeners, addresses = _listen(options, make_session)
        server = PolicyServer(listeners)
        stack.callback(server.close)
        print(
            f"policy     {options.model.name}: task {contract.task}, contract {contract.digest[:12]}, {policy.engine}"
        )
        print(rules.report(first.core.safety.layer))
        wanted = realtime.served_options(permitted=options.realtime, priority=options.priority, cpu=options.cpu)
        print("realtime   " + "; ".join(str(measure) for measure in realtime.apply(wanted)))
        stack.callback(realtime.release)
        print(f"listening  {', '.join(addresses)}, protocol {VERSION}", flush=True)
        server.run(ending)
    print(f"ended by {ending.received}", flush=True)
    for failure in server.failures:
        print(f"a connection was ended by an internal error, {failure}", flush=True)


def _listen(options: PolicyServerOptions, make_session: partial[Session]) -> tuple[list[Listener], list[str]]:
    path = options.socket or default_socket()
    listeners: list[Listener] = [PacketListener(path, make_session)]
    addresses = [f"unix://{path}"]
    if options.websocket is not None:
        try:
            websocket = _websocket(options, options.websocket, make_session)
        except ShoalError:
            listeners[0].close()
            raise
        listeners.append(websocket)
        addresses.append(f"ws://{options.websocket.rpartition(':')[0]}:{websocket.listening.getsockname()[1]}")
    return listeners, addresses


def _websocket(options: PolicyServerOptions, address: str, make_session: partial[Session]) -> Listener:
    try:
        from runtime.policy_server.websocket import WebsocketListener
    except ImportError as error:
        raise ShoalError(f"--websocket needs more packages: pip install 'shoal[remote]' ({error}).") from error
    host, port = host_and_port(address, "--websocket", any_free=True)
    token = read_token(options.token_file) if options.token_file is not None else ""
    return WebsocketListener(host, port, make_session, token=token)
