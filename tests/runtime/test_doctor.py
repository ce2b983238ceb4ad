from __future__ import annotations

import pytest

from runtime.doctor import check_distributions, check_providers, check_realtime, check_telemetry, examine


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


def test_realtime_permissions() -> None:
    def levels(**changed: object) -> list[str]:
        values = {"platform": "linux", "rtprio_limit": 0, "memlock_limit": 8 << 20, "root": False, "cores": 4}
        return [finding.level for finding in check_realtime(**(values | changed))]  # type: ignore[arg-type]

    assert levels() == ["note", "note", "ok"]
    assert levels(rtprio_limit=99, memlock_limit=-1) == ["ok", "ok", "ok"]
    assert levels(root=True, cores=1) == ["ok", "ok", "note"]
    assert levels(platform="darwin") == ["note"]


def test_this_machine_has_no_errors() -> None:
    assert [finding for finding in examine() if finding.level == "error"] == []
