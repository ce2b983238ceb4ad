"""The emergency stop that needs no gateway: beside its Unix socket a server has another one, which its control process
looks at in every tick. To connect is to stop; the answer, one line, is the status with the stop in force.

Nothing but the standard library is imported here, so that `runtime estop` can stop first and import afterwards.
"""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

_SUFFIX = ".estop"
_MAX_REPLY_BYTES = 64 * 1024


def default_socket() -> Path:
    """The user's own socket for requests. Raises `FileNotFoundError` where there is no folder for temporary files."""
    base = _runtime_folder()
    folder = base / "shoal" if base else Path(tempfile.gettempdir()) / f"shoal-{os.getuid()}"
    return folder / "runtime.sock"


def _runtime_folder() -> Path | None:
    """`$XDG_RUNTIME_DIR`, where it is there and this user's own."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    try:
        return Path(base) if base and Path(base).stat().st_uid == os.getuid() else None
    except OSError:
        return None


def stop_path(requests: Path) -> Path:
    """Where the control process listens, from the path of the socket for requests."""
    return requests.with_name(requests.name + _SUFFIX)


def stop_directly(requests: Path, *, timeout_s: float) -> bytes:
    """Stop the robot of the server that takes requests at this path.

    Gives its status once the stop is in force, as JSON. Raises `OSError` when nobody listens, or the control loop has
    not answered in time; it then stops as soon as it ticks again.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        connection.connect(str(stop_path(requests)))
        reply = b""
        while not reply.endswith(b"\n") and len(reply) < _MAX_REPLY_BYTES:
            chunk = connection.recv(4096)
            if not chunk:
                raise ConnectionResetError(0, "the server closed the connection")
            reply += chunk
        return reply
