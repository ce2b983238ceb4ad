"""What a page needs to know; light, so that command line and gateway can have it without loading the rest."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from sim2real.errors import ShoalError

DEFAULT_PORT = 8080


class PageConfig(BaseModel):
    """Where to serve, and whom to watch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str
    """Of the server: unix:///path or tcp://127.0.0.1:PORT."""
    host: str = "127.0.0.1"
    """Interface to listen on."""
    port: int = Field(default=DEFAULT_PORT, ge=1, le=65535)
    mjcf: Path | None = None
    """The robot's model; the one that ships with Shoal if not given."""
    supervised: bool = False
    """End when standard input ends."""

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the page."""
        return is_loopback(self.host)

    @property
    def url(self) -> str:
        """For people."""
        return f"http://{self.host}:{self.port}"


def is_loopback(host: str) -> bool:
    """`localhost` or a loopback address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def require_viser() -> tuple[Any, Any]:
    """The modules viser and mjviser, or one sentence."""
    try:
        import mjviser
        import viser
    except ImportError as error:
        raise ShoalError(f"--page needs viser and mjviser: pip install 'shoal[page]' ({error}).") from error
    return viser, mjviser
