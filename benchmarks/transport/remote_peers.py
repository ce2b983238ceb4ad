"""Policy servers as other stacks have them, and candidates for ours; for `benchmarks.transport.remote_policy` alone.

    python -m benchmarks.transport.remote_peers NAME POLICY ADDRESS

- `openpi`: an asyncio websocket, MessagePack with NumPy arrays, inference on the event loop.
- `lerobot`: gRPC, the observation streamed in chunks by one call, the actions fetched by another, both **pickled**,
  which runs whatever code a sender puts into it. That is what their stack does; nothing but this benchmark does it.
- `grpc`: the same payload in one call.
- `zmq`, `zenoh`: the packets of our own Unix socket over another transport, with the same session behind.

The first three run the bare policy without any safety layer, and on NumPy arrays where LeRobot has torch tensors: both
are in their favour.
"""

from __future__ import annotations

import asyncio
import pickle
import queue
import sys
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import numpy as np

from runtime.inference.policy import Policy
from runtime.policy_server.packets import memory_of
from runtime.policy_server.session import Session
from runtime.robot.model import find_model
from runtime.safety import SafetyConfig
from runtime.safety.geometry import geometry_checker_for
from sim2real.console import command_line
from sim2real.errors import ShoalError

SERVICE = "transport.AsyncInference"
CHUNK_BYTES = 2 * 1024 * 1024
Infer = Callable[[dict[str, Any]], dict[str, Any]]


def bare(path: str) -> Infer:
    """Observation to action with nothing around the policy."""
    policy = Policy(path, engine="onnxruntime")

    def infer(observation: dict[str, Any]) -> dict[str, Any]:
        for name, array in policy.inputs.items():
            np.copyto(array, observation[name], casting="same_kind")
        policy.run()
        return {"actions": policy.command[None].copy()}

    return infer


def served_session(path: str) -> Session:
    """What `runtime policy-server` keeps for a client, with all rules of the safety layer."""
    policy, safety = Policy(path, engine="onnxruntime"), SafetyConfig()
    return Session(
        policy,
        safety=safety,
        geometry_checker=geometry_checker_for(find_model(policy.contract), policy.contract, safety),
    )


def packets(path: str) -> Callable[[bytes], bytes]:
    """Our packets, answered by our session."""
    session = served_session(path)
    request, reply = memory_of(session.request_record), memory_of(session.reply_record)

    def answer(packet: bytes) -> bytes:
        request[:] = packet
        session.answer(float(session.request["time_s"][0]), float(session.request["age_s"][0]), reset=False)
        return bytes(reply)

    return answer


def serve_openpi(path: str, address: str) -> None:
    """An asyncio websocket server."""
    from websockets.asyncio.server import ServerConnection, serve

    from runtime.policy_server.messagepack import pack, unpack

    infer, port = bare(path), int(address.rpartition(":")[2])

    async def answer(connection: ServerConnection) -> None:
        await connection.send(pack({"policy": "benchmark"}))
        async for message in connection:
            started = time.monotonic()
            action = infer(unpack(bytes(message)))  # type: ignore[arg-type]
            action["server_timing"] = {"infer_ms": 1e3 * (time.monotonic() - started)}
            await connection.send(pack(action))

    async def run() -> None:
        async with serve(answer, "127.0.0.1", port, compression=None, max_size=None):
            _ready()
            await asyncio.Future()

    asyncio.run(run())


def serve_grpc(path: str, address: str) -> None:
    """Both gRPC forms."""
    import grpc  # type: ignore[import-untyped]

    infer = bare(path)
    waiting: queue.Queue[dict[str, Any]] = queue.Queue(maxsize=1)

    def send_observations(chunks: Iterator[bytes], context: Any) -> bytes:
        waiting.put(pickle.loads(b"".join(chunks)))
        return b""

    def get_actions(request: bytes, context: Any) -> bytes:
        return pickle.dumps(infer(waiting.get(timeout=2.0)))

    def infer_at_once(request: bytes, context: Any) -> bytes:
        return pickle.dumps(infer(pickle.loads(request)))

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    handlers = {
        "SendObservations": grpc.stream_unary_rpc_method_handler(send_observations),
        "GetActions": grpc.unary_unary_rpc_method_handler(get_actions),
        "Infer": grpc.unary_unary_rpc_method_handler(infer_at_once),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_insecure_port(address)
    server.start()
    _ready()
    server.wait_for_termination()


def serve_zmq(path: str, address: str) -> None:
    """ZeroMQ, request and reply."""
    import zmq

    answer = packets(path)
    with zmq.Context() as context, context.socket(zmq.REP) as socket:
        socket.bind(address)
        _ready()
        while True:
            socket.send(answer(socket.recv()))


def serve_zenoh(path: str, address: str) -> None:
    """A zenoh queryable, reached directly over TCP."""
    import zenoh

    answer = packets(path)
    config = zenoh.Config.from_json5(
        f'{{mode: "peer", listen: {{endpoints: ["tcp/{address}"]}}, scouting: {{multicast: {{enabled: false}}}}}}'
    )
    with zenoh.open(config) as session, session.declare_queryable("policy") as queryable:
        _ready()
        for query in queryable:
            with query:  # which ends the reply; the asker waits for that
                payload = query.payload
                assert payload is not None
                query.reply("policy", answer(payload.to_bytes()), express=True)


def _ready() -> None:
    print("ready", flush=True)


SERVERS: dict[str, Callable[[str, str], None]] = {
    "openpi": serve_openpi,
    "grpc": serve_grpc,
    "lerobot": serve_grpc,
    "zmq": serve_zmq,
    "zenoh": serve_zenoh,
}


def main() -> None:
    """Serve until killed."""
    name, path, address = sys.argv[1:]
    if name not in SERVERS or not Path(path).is_file():
        raise ShoalError(f"remote_peers: no server {name!r}, or no policy {path}.")
    SERVERS[name](path, address)


if __name__ == "__main__":
    with command_line():
        main()
