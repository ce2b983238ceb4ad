from __future__ import annotations

import py_compile
from pathlib import Path

import pytest

from runtime.diagnostics.doctor import (
    check_bytecode,
    check_compiler,
    check_distributions,
    check_providers,
    check_realtime,
    check_telemetry,
    examine,
)
from runtime.realtime.wakeup_latency import STEPS, wakeups


@pytest.mark.parametrize(
    ("distributions", "level", "part"),
    [
        ({"numpy": "2.0"}, "error", "not installed"),
        ({"onnxruntime": "1.32.0", "onnx": "1.18"}, "ok", "onnxruntime 1.32.0 alone"),
        ({"onnxruntime-gpu": "1.31.1"}, "ok", "onnxruntime-gpu 1.31.1 alone"),
        ({"onnxruntime": "1.32.0", "onnxruntime-gpu": "1.31.1"}, "error", "pip uninstall onnxruntime onnxruntime-gpu"),
    ],
)
def test_distributions(distributions: dict[str, str], level: str, part: str) -> None:
    finding = check_distributions(distributions)
    assert finding.level == level
    assert part in finding.sentence


@pytest.mark.parametrize(
    ("available", "with_device", "level"),
    [
        (["AzureExecutionProvider", "CPUExecutionProvider"], ["CPUExecutionProvider"], "ok"),
        (["CUDAExecutionProvider", "CPUExecutionProvider"], ["CPUExecutionProvider"], "error"),
        (["CUDAExecutionProvider", "CPUExecutionProvider"], ["CUDAExecutionProvider", "CPUExecutionProvider"], "ok"),
    ],
)
def test_providers(available: list[str], with_device: list[str], level: str) -> None:
    assert check_providers(available, with_device).level == level


def test_telemetry() -> None:
    assert check_telemetry(True).level == "ok"
    assert check_telemetry(False).level == "error"


_PERMITS_NOTHING = {
    "platform": "linux",
    "kernel": (6, 1),
    "preempt_rt": False,
    "rtprio_limit": 0,
    "memlock_limit": 8 << 20,
    "cpu_latency": False,
    "root": False,
    "cores": 4,
}


def test_realtime_permissions() -> None:
    def levels(**changed: object) -> dict[str, str]:
        findings = check_realtime(**(_PERMITS_NOTHING | changed))  # type: ignore[arg-type]
        return {finding.subject: finding.level for finding in findings}

    nothing = levels()
    assert nothing.pop("cores") == "ok"
    assert set(nothing.values()) == {"note"}
    assert levels(rtprio_limit=99)["SCHED_FIFO"] == levels(root=True)["SCHED_FIFO"] == "ok"
    assert levels(memlock_limit=-1)["locked memory"] == levels(root=True)["locked memory"] == "ok"
    assert levels(kernel=(6, 12))["short slice"] == "ok"
    assert levels(cpu_latency=True)["no deep sleep"] == "ok"
    assert levels(preempt_rt=True)["PREEMPT_RT"] == "ok"
    assert levels(cores=1)["cores"] == "note"
    assert levels(platform="darwin") == {"real time": "note"}


def test_compiler() -> None:
    assert check_compiler("/usr/bin/cc").level == "ok"
    assert check_compiler(None).level == "note"


def test_waking_is_measured() -> None:
    late = wakeups(STEPS["nothing"], 5)
    assert late["count"] == 5
    assert 0 <= late["p50_us"] <= late["max_us"]


def test_this_machine_has_no_errors() -> None:
    assert [finding for finding in examine() if finding.level == "error"] == []


def test_modules_that_are_not_kept_compiled_are_noted(tmp_path: Path) -> None:
    module = tmp_path / "package" / "__init__.py"
    module.parent.mkdir()
    module.write_text("")
    finding = check_bytecode(module)
    assert finding.level == "note"
    assert f"compileall -q {tmp_path}" in finding.sentence
    py_compile.compile(str(module))
    assert check_bytecode(module).level == "ok"
