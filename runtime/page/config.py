"""What a page needs to know; light, so that command line and gateway can have it without loading the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from runtime.page.web.gate import Doorstep
from runtime.protocol.address import is_loopback
from sim2real.errors import ShoalError
from sim2real.pages import viser_installed

DEFAULT_PORT = 8080
_MISSING = "--page needs viser and mjviser: pip install 'shoal[page]'"


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
    ask_code: bool = False
    """Ask for a code on the loopback interface, too."""
    listening: int | None = None
    """Descriptor of the socket to listen on, from the process that keeps it open."""

    @property
    def guarded(self) -> bool:
        """Whether browsers have to show a code: always where other machines can reach the page."""
        return self.ask_code or not is_loopback(self.host)

    @property
    def url(self) -> str:
        """The address to open in a browser."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def require_viser() -> tuple[Any, Any]:
    """The modules viser and mjviser; raises `ShoalError` without them. Takes seconds."""
    try:
        import mjviser
        import viser
    except ImportError as error:
        raise ShoalError(f"{_MISSING} ({error}).") from error
    return viser, mjviser


def listening_socket(config: PageConfig) -> Doorstep:
    """Bound to the page's address, or the one that is given. Raises `ShoalError` when the address is taken, or what a
    page needs is not installed; nothing of that is loaded.
    """
    if not viser_installed():
        raise ShoalError(f"{_MISSING}.")
    if config.listening is not None:
        return Doorstep.of(config.listening)
    try:
        return Doorstep.at(config.host, config.port)
    except OSError as error:
        raise ShoalError(
            f"--page: cannot listen on {config.host}:{config.port} ({error.strerror}); choose another port."
        ) from error
