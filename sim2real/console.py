"""Standard output of the command lines."""

from __future__ import annotations

import os
import sys


def discard_output() -> None:
    """After a `BrokenPipeError`: the reader, `head` for one, has seen enough, and what is still buffered has nowhere to
    go.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
