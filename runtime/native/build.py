"""Compiles a kernel with the system's C compiler, once per source, compiler and processor.

The libraries lie in `$XDG_CACHE_HOME/shoal/kernels`, or `~/.cache/shoal/kernels`. As their code is loaded into the
process that moves a robot, that folder must belong to this user and be writable by nobody else.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock, Thread

# Floating-point traps are off anyway; a compiler that must keep them in order leaves every sigmoid to scalar code where
# the processor has no masked vectors (AVX2), which made an inference half as long again.
_FLAGS = ("-O3", "-march=native", "-std=gnu11", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared")
_COMPILERS = ("cc", "gcc", "clang")
_COMPILE_S = 60.0
_being_compiled: dict[Path, Lock] = {}


class Unsupported(Exception):
    """The kernel cannot compute this graph; the text says why and ends without a full stop."""


def compile_library(source: str) -> Path:
    """Path of the shared library of a C source; compiled now or found in the cache. Raises `Unsupported`."""
    compiler = find_compiler()
    if compiler is None:
        raise Unsupported("this machine has no C compiler (cc, gcc or clang)")
    folder = _cache_folder()
    identity = "\0".join((source, _version(compiler), " ".join(_FLAGS), _processor()))
    library = folder / f"{hashlib.sha256(identity.encode()).hexdigest()}.so"
    with _being_compiled.setdefault(library, Lock()):
        if not library.is_file():
            _compile(compiler, source, library)
    return library


def load_ahead(*loads: Callable[[], object]) -> None:
    """Call functions that compile and load a library on a thread of their own.

    Whoever calls one of them later finds its library compiled or waits for it, and learns himself why there is none.
    """

    def work() -> None:
        for load in loads:
            with suppress(Unsupported):
                load()

    Thread(target=work, name="compiles").start()


def load_library(path: Path) -> ctypes.PyDLL:
    """The library, called without giving up the interpreter's lock: a call takes microseconds, and to get the lock
    back from another thread can take five milliseconds.
    """
    try:
        return ctypes.PyDLL(str(path))
    except OSError as error:
        path.unlink(missing_ok=True)  # damaged: the next start compiles it again
        raise Unsupported(f"its compiled library cannot be loaded ({error})") from error


def find_compiler() -> str | None:
    """`$CC`, or the first C compiler on the path."""
    wanted = os.environ.get("CC")
    return next((path for name in ((wanted,) if wanted else _COMPILERS) if (path := shutil.which(name))), None)


def _compile(compiler: str, source: str, library: Path) -> None:
    with tempfile.TemporaryDirectory(dir=library.parent, prefix=".compile-") as scratch:
        code, result = Path(scratch) / "kernel.c", Path(scratch) / "kernel.so"
        code.write_text(source)
        try:
            done = subprocess.run(
                [compiler, *_FLAGS, "-o", str(result), str(code), "-lm"],
                capture_output=True,
                text=True,
                timeout=_COMPILE_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unsupported(f"{Path(compiler).name} did not end well ({error})") from error
        if done.returncode != 0 or not result.is_file():
            errors = [line for line in done.stderr.splitlines() if "error" in line]
            reason = (errors or [f"exit status {done.returncode}"])[0]
            raise Unsupported(f"{Path(compiler).name} could not compile it ({reason})")
        result.replace(library)


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        folder = Path(base).expanduser() / "shoal" / "kernels"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        facts = folder.stat()
    except (OSError, RuntimeError) as error:  # RuntimeError: a user without a home
        raise Unsupported(f"its cache folder cannot be used ({error})") from error
    if facts.st_uid != os.geteuid() or facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise Unsupported(f"others could write into its cache folder {folder}")
    return folder


def _version(compiler: str) -> str:
    """Path, size and change of the compiler itself: cheaper than to ask it, and it changes with every update."""
    facts = Path(compiler).resolve().stat()
    return f"{compiler} {facts.st_size} {facts.st_mtime_ns}"


def _processor() -> str:
    """What `-march=native` depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    wanted = ("model name", "flags", "Features", "CPU part", "CPU implementer")
    return "\n".join(sorted({line for line in lines if line.startswith(wanted)}))
