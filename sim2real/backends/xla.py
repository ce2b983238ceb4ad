"""How MJX's programs must be compiled on a CPU.

jaxlib 0.10's new CPU fusion emitters make MJX about a thousand times slower and its compilation five times longer; the
old ones are an option away. They are the slower ones for everything else (a teacher's update takes 1.4 times as
long with them), so the option goes to MJX's programs alone, not to the process. jaxlib 0.11 and later don't know it and
don't need it.
"""

from __future__ import annotations

from importlib import metadata


def mjx_compiler_options() -> dict[str, bool | str] | None:
    """`compiler_options` for `jax.jit` of a function that steps MJX; None where none are needed."""
    import jax

    if jax.default_backend() != "cpu" or not metadata.version("jaxlib").startswith("0.10."):
        return None
    return {"xla_cpu_use_fusion_emitters": False}
