"""Compiled programs are kept, so that a command that is started again compiles nothing.

They lie in `$XDG_CACHE_HOME/shoal/xla`, or `~/.cache/shoal/xla`, one folder for each version of jaxlib and each kind of
processor, because a home may be shared by machines and an old program may end a process on another. What is loaded from
there is code, so the folder must be its user's alone. JAX's own settings come first: JAX_COMPILATION_CACHE_DIR names
another folder, JAX_ENABLE_COMPILATION_CACHE=0 keeps nothing.
"""

from __future__ import annotations

import hashlib
import os
import platform
import stat
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

_MOST_BYTES = 2**30
_SETTINGS: dict[str, Any] = {
    "jax_persistent_cache_min_compile_time_secs": 0.0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}
"""A start is made of some big programs and of a hundred that take a tenth of a second each."""


def keep_compiled_programs() -> None:
    """Have this process and its children keep what they compile; one sentence on standard error where that can't be."""
    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return
    try:
        folder = cache_folder()
    except (OSError, RuntimeError) as error:  # RuntimeError: a user without a home
        print(f"note: compiled programs are not kept ({error}).", file=sys.stderr)
        return
    shrink(folder, _MOST_BYTES)
    settings = _SETTINGS | {"jax_compilation_cache_dir": str(folder)}
    for name, value in settings.items():
        os.environ.setdefault(name.upper(), str(value))
        if "jax" in sys.modules:  # which has read the environment already
            sys.modules["jax"].config.update(name, value)


def cache_folder() -> Path:
    """The folder for this jaxlib on this processor, which is there then; `OSError` where it is not safe to use."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "shoal" / "xla"
    folder = base / f"{metadata.version('jaxlib')}-{_processor()}"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path in (base, folder):
        facts = path.stat()
        if facts.st_uid != os.geteuid() or facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise OSError(f"others could write into {path}; chmod go-w makes it yours alone")
    return folder


def shrink(folder: Path, most_bytes: int) -> None:
    """Remove what was not used for the longest time until the files are no larger than `most_bytes` together. Another
    process that misses one compiles it again.
    """
    files: list[tuple[float, int, Path]] = []
    for path in folder.iterdir():
        with suppress(OSError):
            facts = path.stat()
            files.append((max(facts.st_atime, facts.st_mtime), facts.st_size, path))
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total <= most_bytes:
            return
        with suppress(OSError):
            path.unlink()
        total -= size


def _processor() -> str:
    """Sixteen digits of what compiled code depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        about = "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
    except OSError:
        about = f"{platform.machine()} {platform.processor()}"
    return hashlib.sha256(about.encode()).hexdigest()[:16]
