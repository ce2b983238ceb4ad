"""Writing files so that a reader never finds half of one."""

from __future__ import annotations

import os
from pathlib import Path

from sim2real.errors import ShoalError


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` in one step; `ShoalError` where that is not possible."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ShoalError(f"cannot write {path}: {error.strerror or error}.") from error
