"""The page's process beside a server's control process; see `runtime.process.child` for what they tell each other."""

from __future__ import annotations

import sys

from runtime.page.app import serve_beside
from runtime.page.config import PageConfig
from runtime.process.child import ParentEnd
from runtime.process.output import share_relayed_output
from runtime.process.signals import leave_ending_to_parent
from sim2real.errors import ShoalError


def main() -> None:
    """Entry point of the process."""
    leave_ending_to_parent()
    share_relayed_output()
    parent = ParentEnd()
    given, sockets = parent.config(), parent.listening()
    if not sockets:
        return
    config = PageConfig.model_validate_json(given)
    try:
        serve_beside(config.model_copy(update={"listening": sockets[0]}), parent)
    except ShoalError as error:
        print(f"page: {error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
