"""`runtime policy-server`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runtime.options import Engine


@dataclass(frozen=True)
class ServePolicy:
    """Answer readings with commands, for people who keep their own control loop."""

    model: Path
    """The policy file, written by export-onnx."""
    socket: Path | None = None
    """Unix socket to listen on; a private path of this user if not given."""
    websocket: str | None = None
    """Also listen on HOST:PORT, for openpi's clients. Loopback only, unless there is a token."""
    token_file: Path | None = None
    """File with the token that clients of the websocket must send as their API key, readable by you alone."""
    safety: Path | None = None
    """YAML with limits and fault responses; runtime safety prints its schema."""
    mjcf: Path | None = None
    """The robot's model for the workspace and self-collision rules, instead of the one that ships with Shoal."""
    engine: Engine = "auto"
    """What computes the policy: onnxruntime, a kernel compiled from its weights, or the faster that works."""
    realtime: bool = True
    """Try SCHED_FIFO, locked memory and no deep sleep of processors, which costs power; says what was permitted."""
    priority: int = 40
    """SCHED_FIFO priority, below a control loop's."""
    cpu: int | None = None
    """Pin the server to this core."""

    def run(self) -> int:
        """Exit status 0 after SIGTERM or SIGINT."""
        from runtime.policy_server.serve import serve

        serve(self)
        return 0
