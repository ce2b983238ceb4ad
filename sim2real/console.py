"""How every command line ends: a user's error is one sentence on standard error, whatever raised it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from sim2real.errors import ShoalError

_USER_ERROR, _INTERRUPTED = 2, 130


@contextmanager
def command_line() -> Iterator[None]:
    """Run a command in this block. `ShoalError` and an output that cannot be written exit with status 2, Ctrl-C with
    130; a reader that has seen enough, `head` for one, is no error.
    """
    try:
        yield
        sys.stdout.flush()
    except ShoalError as error:
        _fail(str(error), _USER_ERROR)
    except BrokenPipeError:
        discard_output()
    except KeyboardInterrupt:
        _fail("interrupted.", _INTERRUPTED)
    except OSError as error:
        if error.filename is not None:  # A file that we forgot to guard; the traceback is ours to see.
            raise
        discard_output()
        _fail(f"cannot write to standard output: {error.strerror or error}.", _USER_ERROR)


def _fail(sentence: str, status: int) -> None:
    """Names and values come from files and may hold what a terminal would obey, so that only text is printed."""
    plain = "".join(
        character if character.isprintable() or character == "\n" else repr(character)[1:-1] for character in sentence
    )
    print(f"error: {plain}", file=sys.stderr)
    raise SystemExit(status) from None


def discard_output() -> None:
    """What is still buffered has nowhere to go."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
