"""How every command line begins and ends: a user's error is one sentence on standard error, whatever raised it.

First of all, and before MuJoCo is imported, `prepare_process`; then everything within `command_line`.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from sim2real.drawing import draw_nothing
from sim2real.errors import ShoalError, printable

_USER_ERROR, _INTERRUPTED = 2, 130
_WRONG_PATH = (errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, errno.EPERM)
"""What is wrong with a path itself or with whom it is for; asking whether there is such a file fails with these."""


def prepare_process() -> None:
    """First of all: three standard streams, no OpenGL, and names of files in UTF-8 whatever the locale says, as MuJoCo
    and JSON have them.
    """
    open_missing_streams()
    draw_nothing()
    if sys.getfilesystemencoding() != "utf-8":
        # For this process and its children; Python decides once, at its start.
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


@contextmanager
def command_line() -> Iterator[None]:
    """Run a command in this block. `ShoalError`, a path that the system refuses and an output that cannot be written
    exit with status 2, Ctrl-C with 130; a reader that has seen enough, `head` for one, is no error.
    """
    try:
        _require_utf8(sys.argv[1:])
        yield
        sys.stdout.flush()
    except ShoalError as error:
        _fail(str(error), _USER_ERROR)
    except BrokenPipeError:
        discard_output()
    except KeyboardInterrupt:
        _fail("interrupted.", _INTERRUPTED)
    except OSError as error:
        if error.filename is not None and error.errno in _WRONG_PATH:
            _fail(f"cannot use {os.fsdecode(error.filename)}: {error.strerror}.", _USER_ERROR)
        if error.filename is not None:  # A file that we forgot to guard; the traceback is ours to see.
            raise
        discard_output()
        _fail(f"cannot write to standard output: {error.strerror or error}.", _USER_ERROR)


def _fail(sentence: str, status: int) -> None:
    lines = [printable(line, most=len(line)) for line in sentence.split("\n")]
    print("error: " + "\n".join(lines), file=sys.stderr)
    raise SystemExit(status) from None


def discard_output() -> None:
    """What is still buffered has nowhere to go."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def open_missing_streams() -> None:
    """Lead standard streams that are closed to nowhere: the next file that is opened would take their place."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            stream = open(number, "w" if number else "r", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def _require_utf8(arguments: list[str]) -> None:
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise ShoalError(f"{argument!a} is not UTF-8; rename the file.") from None
