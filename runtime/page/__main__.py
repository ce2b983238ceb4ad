"""The page's process beside a gateway: its configuration as one JSON line on standard input, whose end ends it."""

from __future__ import annotations

import signal
import sys

from runtime.page.app import run_supervised
from runtime.page.config import PageConfig
from sim2real.errors import ShoalError


def main() -> None:
    """Entry point of the process."""
    # Ctrl-C goes to the whole terminal group; the control process decides when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    config = PageConfig.model_validate_json(sys.stdin.buffer.readline())
    try:
        run_supervised(config)
    except ShoalError as error:
        print(f"page: {error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
