"""`runtime doctor`: is this machine fit to drive a robot?

The checks are functions of plain data, gathered by `examine`.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Literal

from sim2real.errors import ShoalError

Level = Literal["ok", "note", "error"]

_SHARE_A_FOLDER = (
    "onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-qnn",
    "onnxruntime-rocm", "onnxruntime-training", "ort-nightly", "ort-nightly-gpu",
)  # fmt: skip
_WITHOUT_DEVICE = ("CPUExecutionProvider", "AzureExecutionProvider")


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    level: Level
    subject: str
    sentence: str


def installed() -> dict[str, str]:
    """Every installed distribution, normalised name to version."""
    return {(item.metadata["Name"] or "").lower().replace("_", "-"): item.version for item in metadata.distributions()}


def check_distributions(distributions: Mapping[str, str]) -> Finding:
    """Exactly one of the wheels that fill the folder `onnxruntime/` may be installed."""
    found = {name: distributions[name] for name in _SHARE_A_FOLDER if name in distributions}
    shown = " and ".join(f"{name} {version}" for name, version in found.items())
    if not found:
        return Finding("error", "onnxruntime", "not installed; pip install 'shoal[cpu]' (or 'shoal[gpu]').")
    if len(found) > 1:
        return Finding(
            "error",
            "onnxruntime",
            f"{shown} are both installed and have overwritten each other's files; uninstall them all "
            f"(pip uninstall {' '.join(found)}), then install one extra.",
        )
    return Finding("ok", "onnxruntime", f"{shown} alone.")


def check_providers(available: Sequence[str], with_device: Sequence[str]) -> Finding:
    """A provider that the wheel claims without a device means sessions that silently run on the CPU."""
    claimed = [name for name in available if name not in _WITHOUT_DEVICE]
    missing = [name for name in claimed if name not in with_device]
    if missing:
        return Finding(
            "error",
            "providers",
            f"the wheel claims {', '.join(missing)}, but no device backs it: sessions would silently run on the CPU; "
            "install the GPU's driver and CUDA libraries (shoal[gpu]), or use shoal[cpu].",
        )
    return Finding("ok", "providers", f"{', '.join(claimed) or 'CPU only'}, as claimed.")


def check_telemetry(prevented: bool) -> Finding:
    """Telemetry must be off."""
    if prevented:
        return Finding("ok", "telemetry", "off (ORT_DISABLE_TELEMETRY=1 was set before the import).")
    return Finding(
        "error",
        "telemetry",
        "onnxruntime was imported before runtime and may be uploading; set ORT_DISABLE_TELEMETRY=1 in the environment.",
    )


def check_realtime(*, platform: str, rtprio_limit: int, memlock_limit: int, root: bool, cores: int) -> list[Finding]:
    """Whether the loop may have a real-time priority and locked memory; limits as of getrlimit, -1 unlimited."""
    if not platform.startswith("linux"):
        return [Finding("note", "real time", f"{platform} has no SCHED_FIFO; expect late ticks under load.")]
    fifo = root or rtprio_limit == -1 or rtprio_limit >= 50
    memory = root or memlock_limit == -1 or memlock_limit >= 512 * 2**20
    limits = "/etc/security/limits.d/shoal.conf"
    return [
        Finding("ok", "SCHED_FIFO", "permitted.")
        if fifo
        else Finding("note", "SCHED_FIFO", f"not permitted; put '@realtime - rtprio 99' into {limits}."),
        Finding("ok", "locked memory", "permitted.")
        if memory
        else Finding("note", "locked memory", f"not permitted; put '@realtime - memlock unlimited' into {limits}."),
        Finding("ok", "cores", f"{cores}, enough for loop and gateway.")
        if cores > 1
        else Finding("note", "cores", "only one; the gateway competes with the loop."),
    ]


def examine() -> list[Finding]:
    """All checks on this machine."""
    findings = [check_distributions(installed())]
    try:
        from runtime import ort

        findings.append(check_providers(ort.available_providers(), ort.device_providers()))
        findings.append(check_telemetry(ort.telemetry_prevented()))
    except (ShoalError, AttributeError) as error:
        # AttributeError: what is left of the folder after one of two wheels was uninstalled.
        findings.append(Finding("error", "onnxruntime", f"cannot be used: {error}"))
    return findings + check_realtime(
        platform=sys.platform,
        # Linux only; elsewhere the number is not looked at.
        rtprio_limit=resource.getrlimit(getattr(resource, "RLIMIT_RTPRIO", resource.RLIMIT_NOFILE))[0],
        memlock_limit=resource.getrlimit(resource.RLIMIT_MEMLOCK)[0],
        root=os.geteuid() == 0,
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
    )
