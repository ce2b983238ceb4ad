"""Options of every sub-command that talks to a running server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime.protocol.client import Client


@dataclass(frozen=True, kw_only=True)
class Connection:
    """How the server is reached."""

    address: str | None = None
    """Socket path, unix:///path or tcp://HOST:PORT."""
    token_file: Path | None = None
    """What a server with --token-file asks for on TCP."""

    def client(self) -> Client:
        """Connects at its first request."""
        from runtime.protocol.client import Client
        from runtime.protocol.token import read_token

        return Client(self.address, token=read_token(self.token_file) if self.token_file else "")
