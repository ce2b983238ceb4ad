"""The kernel is asked for shallow sleep while a loop runs, and no longer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.realtime import idle_states


def test_the_file_is_held_open_with_a_latency_of_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle_states, "CPU_LATENCY", tmp_path / "latency")
    with pytest.raises(OSError, match="needs root"):
        idle_states.hold_latency()
    (tmp_path / "latency").touch()
    idle_states.hold_latency()
    assert (tmp_path / "latency").read_bytes() == bytes(4)
    held = list(idle_states._held_files)
    assert held
    idle_states.release_latency()
    for descriptor in held:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)
