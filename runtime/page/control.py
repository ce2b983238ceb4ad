"""Which of the connected browsers may drive, and which may connect at all."""

from __future__ import annotations

import ipaddress
import secrets
import threading
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from runtime.protocol.token import same_token

_WRONG_CODE_S = 1.0


class Control:
    """One browser at a time has control; a browser is known by the number that viser gives it.

    With `guarded`, taking control needs `code`, which only the terminal shows: for pages that a network can reach.
    """

    def __init__(self, *, guarded: bool) -> None:
        self.code = f"{secrets.randbelow(10**6):06d}" if guarded else ""
        self.holder: int | None = None
        self._lock = threading.Lock()

    def take(self, client_id: int, code: str = "") -> str:
        """Why not, or an empty string when this browser now has control."""
        with self._lock:
            if self.code and not same_token(code.strip(), self.code):
                # Inside the lock: guesses queue up, at one a second whoever makes them.
                time.sleep(_WRONG_CODE_S)
                return "That is not the code; it was printed where the page was started."
            if self.holder not in (None, client_id):
                return f"Browser {self.holder} has control; it has to release it first."
            self.holder = client_id
            return ""

    def drop(self, client_id: int) -> bool:
        """Release control if this browser has it; says whether it had."""
        with self._lock:
            had = self.holder == client_id
            if had:
                self.holder = None
            return had


def same_origin(headers: Mapping[str, str], host: str) -> bool:
    """Whether a websocket was opened by this very page, or by a program that is no browser.

    Browsers let any web site open a websocket to this machine and say in `Origin` which one did. It must be what was
    asked for (`Host`), and that must be an address, `localhost` or the configured `host`: a foreign name may have been
    pointed at this machine.
    """
    origin = headers.get("Origin")
    if origin is None:
        return True
    address = urlsplit(origin)
    if address.netloc != headers.get("Host"):
        return False
    name = address.hostname or ""
    if name in ("localhost", host):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
