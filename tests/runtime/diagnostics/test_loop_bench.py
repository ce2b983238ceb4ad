"""`runtime bench`: what it measures, and that nothing of its load stays behind."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.diagnostics import loop_bench
from runtime.diagnostics.loop_bench import ABSOLUTE, BARE, FIFO, SERVED, Variant, bench_loop
from runtime.realtime import cpu_load as load_module
from runtime.realtime import measures as realtime
from runtime.realtime.cpu_load import competing_load
from sim2real.errors import ShoalError
from tests.runtime.test_cli import run


def test_load_runs_on_every_core_and_ends_with_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    popen = load_module.subprocess.Popen
    monkeypatch.setattr(load_module.subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1])

    def fail_under_load() -> None:
        with competing_load() as count:
            assert count == len(started) == len(os.sched_getaffinity(0))
            assert all(hog.poll() is None for hog in started)
            raise ValueError("in the block")

    with pytest.raises(ValueError, match="in the block"):
        fail_under_load()
    assert all(hog.poll() is not None for hog in started)


@pytest.mark.parametrize("variant", [BARE, ABSOLUTE], ids=lambda variant: variant.name)
def test_a_loop_is_measured(policy_path: Path, variant: Variant) -> None:
    row = loop_bench._run(variant, policy_path, 200, 40, 0, "onnxruntime")
    assert row["variant"] == variant.name
    assert row["missed"] >= 0
    if variant is ABSOLUTE:
        assert sum(row["missed_by"].values()) == row["missed"]
    else:
        assert row["missed_by"] is None
    assert row["jitter"]["count"] == 39
    assert row["lateness"]["count"] == (40 if variant is ABSOLUTE else 39)
    assert row["lateness"]["max_us"] >= row["lateness"]["p50_us"] >= 0


def test_added_work_takes_its_time(policy_path: Path) -> None:
    row = loop_bench._run(replace(ABSOLUTE, work_s=0.011), policy_path, 200, 10, 0, "onnxruntime")
    assert row["missed"] >= 2 * 9, "each tick is two periods and more"


def test_fifo_that_is_not_permitted_is_said(policy_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = [realtime.Measure("SCHED_FIFO 50", False, "Operation not permitted")]
    monkeypatch.setattr(loop_bench.realtime, "apply", lambda options: refused)
    row = loop_bench._run(FIFO, policy_path, 200, 10, 0, "onnxruntime")
    assert row["missing"] == "SCHED_FIFO 50: off (Operation not permitted)"


def test_wrong_numbers_are_refused(policy_path: Path) -> None:
    with pytest.raises(ShoalError, match="--ticks must be at least 1"):
        next(bench_loop(policy_path, rate_hz=100, ticks=0))


@pytest.mark.slow
def test_loop_command(policy_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("bench", str(policy_path), "--loop", "200", "--load", "--ticks", "20", "--json") == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row.get("variant", "noise") for row in rows] == ["noise", *(variant.name for variant in SERVED)] * 2
    assert [row["load"] > 0 for row in rows] == [False] * 4 + [True] * 4


def test_tick_command(policy_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("bench", str(policy_path), "--samples", "20", "--rate-hz", "1000") == 0
    printed = capsys.readouterr().out
    assert "whole tick, paced, warmed up" in printed
    assert "engine: onnxruntime" in printed
