"""The shared library of all C sources here."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from importlib import resources

from runtime.native.build import compile_library, load_library

LONGEST_PATH = 64
"""Postures; as in limits.c."""
MOST_JOINTS = 64
"""As in limits.c."""
_SOURCES = ("clearance.c", "limits.c", "watch.c")
"""In this order: `limits.c` calls what `clearance.c` defines."""


@lru_cache(maxsize=1)
def load() -> ctypes.PyDLL:
    """Compiled now or found in the cache. Raises `Unsupported` with the reason."""
    folder = resources.files("runtime.safety.compiled")
    source = "\n".join(folder.joinpath(name).read_text() for name in _SOURCES)
    library = load_library(compile_library(source, exact=True))
    address, number, count, flag = ctypes.c_void_p, ctypes.c_double, ctypes.c_int64, ctypes.c_int
    arguments = {
        "shoal_clear": (address, address, count),
        "shoal_points": (address, address, address),
        "shoal_propose": (address, number, address),
        "shoal_path": (address, address),
        "shoal_check": (address, number, number, flag, flag),
    }
    for name, types in arguments.items():
        function = getattr(library, name)
        function.argtypes = types
        function.restype = None if name == "shoal_points" else ctypes.c_int
    return library
