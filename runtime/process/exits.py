"""`os._exit` in a process that must not end without a word.

    with exits_are_errors():
        driver.read(...)          # os._exit(0) somewhere in it raises AbruptExit here

Code of other people's ends a whole process by it, as a success if it likes, and nobody brings to rest what the process
drives. In the main thread it raises instead; in any other, where nobody would hear of that, it ends the process with a
sentence, and never as a success.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

_FAILURE = 2


class AbruptExit(SystemExit):
    """Raised by `os._exit`; its `code` is the exit status that was asked for."""


@contextmanager
def exits_are_errors() -> Iterator[None]:
    """Within the block, `os._exit` of this process, and not of its forks, does what the module says."""
    end, process = os._exit, os.getpid()

    def exit_abruptly(status: int) -> NoReturn:
        if os.getpid() != process:
            end(status)
        thread = threading.current_thread()
        if thread is threading.main_thread():
            raise AbruptExit(status)
        sys.stderr.write(f"error: the thread {thread.name!r} has ended the program (os._exit({status})).\n")
        sys.stderr.flush()
        end(status or _FAILURE)

    os._exit = exit_abruptly
    try:
        yield
    finally:
        os._exit = end
