"""What stands beside the tick computes the same policy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.latency.loop import comparisons
from benchmarks.latency.loop_slice import variants
from benchmarks.latency.tick import _BARE, make_row, median_of, ratios
from benchmarks.latency.tick_peers import example_input, make_peer, numpy_peer, read_network
from runtime.inference.policy import Policy
from runtime.native.build import find_compiler
from sim2real.contract.interface import command, observe, policy_inputs
from sim2real.contract.policy_file import command_output
from sim2real.errors import ShoalError

MODEL = Path(__file__).parents[3] / "models" / "franka_pose.onnx"


def test_the_network_is_the_policys(monkeypatch: pytest.MonkeyPatch) -> None:
    policy, network = Policy(MODEL), read_network(MODEL)
    inputs = {name: np.asarray(rows[:1], np.float32) for name, rows in policy.certificate.golden_inputs.items()}
    goal = policy.contract.goal.vector_of(np, policy.contract, inputs)
    x = policy_inputs(np, policy.contract, observe(np, policy.contract, inputs), goal)
    assert x.shape == example_input(network).shape
    monkeypatch.setattr("benchmarks.latency.tick_peers.example_input", lambda network: x.astype(np.float32))
    action = numpy_peer(network)()[:-1]
    wanted = policy.certificate.golden_outputs[command_output(policy.contract)][:1]
    np.testing.assert_allclose(command(np, policy.contract, action[None], inputs), wanted, atol=1e-5)


@pytest.mark.parametrize("name", ["numpy", pytest.param("jax", marks=pytest.mark.slow), "floor"])
def test_peers_agree(name: str) -> None:
    if name == "floor" and find_compiler() is None:
        pytest.skip("no C compiler on this machine")
    np.testing.assert_allclose(make_peer(name, MODEL)(), make_peer("numpy", MODEL)(), atol=1e-4)
    assert np.finfo(np.float64).tiny / 4 > 0, "subnormal numbers are flushed to zero from now on"


def test_a_library_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.latency.tick_peers.find_spec", lambda name: None)
    with pytest.raises(ShoalError, match="torch is not installed"):
        make_peer("torch", MODEL)


@pytest.mark.parametrize("name", ["nothing", "defaults", _BARE, "tick session"])
def test_rows_can_be_called(name: str) -> None:
    function, discarded = make_row(name, MODEL)
    discarded()
    function()


def test_medians_and_ratios() -> None:
    def summary(p50: float) -> dict[str, dict[str, float]]:
        part = {"count": 1, "p50_us": p50, "p99_us": 2 * p50, "p999_us": 3 * p50, "max_us": 4 * p50}
        return {"hot": part, "paced": part, "warmed": part}

    merged = median_of([summary(1.0), summary(5.0), summary(2.0)])
    assert merged["paced"] == {"p50_us": 2.0, "p99_us": 4.0, "p999_us": 6.0, "max_us": 20.0}
    rows = {name: summary(value) for name, value in {"tick kernel": 10.0, "kernel": 2.0, _BARE: 20.0}.items()}
    found = ratios(rows | {"floor": summary(1.0), "tick session": summary(30.0), "torch": {"missing": "no"}})
    assert found["whole tick (kernel) / bare session"] == 0.5
    assert found["kernel / hand-written C, hot"] == 2.0
    assert not any("torch" in name for name in found)


def test_misses_are_compared_under_load() -> None:
    rows = [{"variant": "bare sleep", "load": load, "missed": 100 * load} for load in (0, 2)]
    rows += [{"variant": "+ unprivileged", "load": load, "missed": 5 * load} for load in (0, 2)]
    assert comparisons(rows) == {"unprivileged / bare, misses under load": 0.05}
    rows.append(
        {"variant": "+ SCHED_FIFO", "load": 2, "missed": 9, "missed_by": {"machine": 6}, "ticks": 24_000},
    )
    found = comparisons(rows)
    assert found["+ SCHED_FIFO, misses under load per 8,000 ticks"] == 3
    assert found["+ SCHED_FIFO, of them while the processor was there"] == 1


def test_slices_differ_in_nothing_else() -> None:
    compared = list(variants((0.1, 0.7), (0.0, 200.0)))
    assert [(variant.realtime.slice_s, variant.work_s) for variant in compared] == [
        (pytest.approx(slice_s), pytest.approx(work_s)) for work_s in (0.0, 200e-6) for slice_s in (0.1e-3, 0.7e-3)
    ]
    assert len({variant.name for variant in compared}) == 4
    assert all(variant.realtime.fifo_priority is None for variant in compared)
