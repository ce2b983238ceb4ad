"""`runtime page`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Page:
    """Show a running server's robot in a browser, with a goal to drag; runtime serve --page does so beside a server."""

    address: str | None = None
    """Socket path, unix:///path or tcp://127.0.0.1:PORT."""
    port: int = 8080
    """To serve the page on."""
    host: str = "127.0.0.1"
    """Interface to serve it on; beyond loopback, the page asks for a code that is printed here."""
    code: bool = False
    """Ask for the code on the loopback interface, too, where other people have accounts on this machine."""
    mjcf: Path | None = None
    """The robot's MJCF, where it does not ship with Shoal."""

    def run(self) -> int:
        """Until a signal asks for the end."""
        from runtime.page.app import serve_page
        from runtime.page.config import PageConfig
        from runtime.process.signals import EndingSignals
        from runtime.protocol.address import default_address

        address = self.address or str(default_address())
        config = PageConfig(address=address, host=self.host, port=self.port, mjcf=self.mjcf, ask_code=self.code)
        with EndingSignals() as ending:
            serve_page(config, ending)
        return 0
