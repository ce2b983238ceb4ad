"""Authority: many clients may look, one at a time may command. Lives in the slot of requests, so that a lease outlasts
a restart of the gateway and the control loop itself sees it run out.
"""

from __future__ import annotations

import secrets
import time

import numpy as np

from runtime.protocol.token import same_token

_RENEW_SHARE = 0.75
"""A lease is written anew only when less than this share of it is left, so that fast clients do not wear the slot."""


class Authority:
    """The lease in a record of requests; methods that change it return True when the record must be published."""

    def __init__(self, requests: np.void) -> None:
        self._requests = requests

    @property
    def remaining_s(self) -> float:
        """Seconds until the lease runs out; 0 when nobody holds one."""
        return max(0.0, (int(self._requests["lease_expires_ns"]) - time.monotonic_ns()) / 1e9)

    @property
    def holder(self) -> str:
        """Name of the holder; empty when there is none."""
        return bytes(self._requests["lease_name"]).decode() if self.remaining_s else ""

    def holds(self, lease: str | None) -> bool:
        """Whether this is the lease in force."""
        return lease is not None and self.remaining_s > 0 and same_token(lease, bytes(self._requests["lease"]).decode())

    def objection(self, lease: str | None) -> str:
        """Why a client with this lease, or none, may not command; empty when it may."""
        if self.holds(lease) or (lease is None and not self.remaining_s):
            return ""
        if not self.remaining_s:
            return "the lease has run out; acquire a new one."
        return f"{self.holder!r} holds the lease for another {self.remaining_s:.1f} s; others may look, and use estop."

    def acquire(self, name: str, duration_s: float) -> str:
        """A new lease, in place of one that has run out or was the caller's own."""
        lease = secrets.token_hex(16)
        self._requests["lease"], self._requests["lease_name"] = lease.encode(), name.encode()
        self._requests["lease_duration_s"] = duration_s
        self._extend()
        return lease

    def renew(self, lease: str | None) -> bool:
        """Extend the lease that a message carries; True when the record has changed."""
        duration_s = float(self._requests["lease_duration_s"])
        if not self.holds(lease) or self.remaining_s > _RENEW_SHARE * duration_s:
            return False
        self._extend()
        return True

    def end(self) -> None:
        """Give the lease up; the goals in force stay."""
        self._requests["lease"], self._requests["lease_name"], self._requests["lease_expires_ns"] = b"", b"", 0

    def _extend(self) -> None:
        self._requests["lease_expires_ns"] = time.monotonic_ns() + round(
            1e9 * float(self._requests["lease_duration_s"])
        )
