"""The secret that clients show when a server listens beyond the loopback interface: the one rule for all servers."""

from __future__ import annotations

import hmac
import os
import stat
from pathlib import Path

from sim2real.errors import ShoalError

_LEAST_CHARACTERS, _MOST_BYTES = 16, 1024


def read_token(path: Path) -> str:
    """The token in a file, white space around it aside.

    Raises `ShoalError` when others could read or guess it, and for what no header of HTTP could carry.
    """
    try:
        # Without waiting, as opening a pipe would.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            mode = os.fstat(descriptor).st_mode
            content = file.read(_MOST_BYTES + 1) if stat.S_ISREG(mode) else b""
    except OSError as error:
        raise ShoalError(f"--token-file: cannot read {path}: {error.strerror or error}.") from error
    if not stat.S_ISREG(mode):
        raise ShoalError(f"--token-file: {path} is no ordinary file; write the token into one.")
    if mode & 0o077:
        raise ShoalError(f"--token-file: {path} can be read by other users; chmod 600 it.")
    token = content.decode("ascii", errors="replace").strip()
    if len(content) > _MOST_BYTES or not all("!" <= character <= "~" for character in token):
        raise ShoalError(
            f"--token-file: {path} must hold the token alone, one word of at most {_MOST_BYTES} ASCII characters."
        )
    if len(token) < _LEAST_CHARACTERS:
        raise ShoalError(
            f"--token-file: the token in {path} has {len(token)} characters, too few to be safe; use at least "
            f"{_LEAST_CHARACTERS}, from `openssl rand -hex 32` say."
        )
    return token


def same_token(given: str, wanted: str) -> bool:
    """Compare in a time that says nothing about where they differ."""
    return hmac.compare_digest(given.encode(errors="surrogatepass"), wanted.encode(errors="surrogatepass"))
