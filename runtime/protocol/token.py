"""The secret that clients show when a server listens beyond the loopback interface."""

from __future__ import annotations

import hmac
from pathlib import Path

from sim2real.errors import ShoalError

_MIN_CHARACTERS = 16


def read_token(path: Path) -> str:
    """The token in a file, surrounding white space aside; raises `ShoalError` when others could read or guess it."""
    try:
        if path.stat().st_mode & 0o077:
            raise ShoalError(f"--token-file: {path} can be read by other users; chmod 600 it.")
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ShoalError(f"--token-file: cannot read {path}: {getattr(error, 'strerror', None) or error}.") from error
    if len(token) < _MIN_CHARACTERS:
        raise ShoalError(
            f"--token-file: the token in {path} has {len(token)} characters, too few to be safe; use at least "
            f"{_MIN_CHARACTERS}, from `openssl rand -hex 32` say."
        )
    return token


def same_token(given: str, wanted: str) -> bool:
    """Compare in a time that says nothing about where they differ."""
    return hmac.compare_digest(given.encode(), wanted.encode())
