"""`runtime policy-server`."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.options import PolicyServerOptions


@dataclass(frozen=True)
class ServePolicy(PolicyServerOptions):
    """Answer readings with commands, for people who keep their own control loop."""

    def run(self) -> int:
        """Exit status 0 after a signal that asks for the end."""
        from runtime.policy_server.serve import serve

        serve(self)
        return 0
