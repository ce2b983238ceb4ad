"""The page's process beside a gateway: its configuration as one JSON line on standard input, whose end ends it."""

from __future__ import annotations

import sys

from runtime.page.app import run_supervised
from runtime.page.config import PageConfig
from runtime.process.output import share_relayed_output
from runtime.process.signals import leave_ending_to_parent
from sim2real.errors import ShoalError


def main() -> None:
    """Entry point of the process."""
    leave_ending_to_parent()
    share_relayed_output()
    config = PageConfig.model_validate_json(sys.stdin.buffer.readline())
    try:
        run_supervised(config)
    except ShoalError as error:
        print(f"page: {error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
