from __future__ import annotations

from importlib import metadata

import jax
import pytest

from sim2real.backends.xla import mjx_compiler_options


@pytest.mark.parametrize(
    ("version", "backend", "needed"),
    [("0.10.2", "cpu", True), ("0.10.0", "gpu", False), ("0.11.0", "cpu", False), ("0.12.1", "cpu", False)],
)
def test_the_option_goes_only_where_it_is_known_and_needed(
    version: str, backend: str, needed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "version", {"jaxlib": version}.__getitem__)
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    assert mjx_compiler_options() == ({"xla_cpu_use_fusion_emitters": False} if needed else None)


def test_this_jaxlib_accepts_the_options() -> None:
    assert jax.jit(lambda x: x + 1, compiler_options=mjx_compiler_options())(1) == 2
