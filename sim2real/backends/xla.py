"""XLA settings that must be in the environment before JAX is imported.

jaxlib 0.10's new CPU fusion emitters make MJX about a thousand times slower on CPU; the old ones are a flag
away. jaxlib 0.11 and later don't know the flag and abort on it, and don't need it.
"""

from __future__ import annotations

import os
from importlib import metadata

_FLAG = "--xla_cpu_use_fusion_emitters"


def configure() -> None:
    """Add the flag to XLA_FLAGS where this jaxlib needs it, unless the user set it already."""
    try:
        version = metadata.version("jaxlib")
    except metadata.PackageNotFoundError:
        return
    flags = os.environ.get("XLA_FLAGS", "")
    if version.startswith("0.10.") and _FLAG not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {_FLAG}=false".strip()
