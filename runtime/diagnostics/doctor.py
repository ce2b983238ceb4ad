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
from importlib.util import cache_from_source
from pathlib import Path
from typing import Literal

import numpy as np

from runtime.native.build import find_compiler
from runtime.realtime.idle_states import CPU_LATENCY
from runtime.realtime.measures import kernel_version
from sim2real.errors import ShoalError

Level = Literal["ok", "note", "error"]

_SHARE_A_FOLDER = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-directml",
    "onnxruntime-openvino",
    "onnxruntime-qnn",
    "onnxruntime-rocm",
    "onnxruntime-training",
    "ort-nightly",
    "ort-nightly-gpu",
)
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


_LIMITS = "/etc/security/limits.d/shoal.conf"
_MEASURES = {
    "SCHED_FIFO": (
        "the loop runs before every ordinary process, so that load cannot make it late",
        f"Put '@realtime - rtprio 99' into {_LIMITS}",
    ),
    "short slice": ("without SCHED_FIFO, the scheduler wakes the loop sooner", "It needs Linux 6.12"),
    "locked memory": ("no tick waits for a page from disk", f"Put '@realtime - memlock unlimited' into {_LIMITS}"),
    "no deep sleep": (
        "an idle core answers at once",
        "Let the group realtime write /dev/cpu_dma_latency (a udev rule)",
    ),
    "PREEMPT_RT": (
        "the kernel itself can be interrupted, which bounds the longest delay",
        "Take a kernel built with it, or expect rare delays of milliseconds",
    ),
    "cores": (
        "gateway and loop have a core each",
        "There is one; take two, or expect a busy gateway to make the loop late",
    ),
}
"""What each gives, and how it is had."""


def check_realtime(
    *,
    platform: str,
    kernel: tuple[int, int],
    preempt_rt: bool,
    rtprio_limit: int,
    memlock_limit: int,
    cpu_latency: bool,
    root: bool,
    cores: int,
) -> list[Finding]:
    """Which real-time measures the loop may take, and what each is good for.

    Limits are as of getrlimit, -1 unlimited; `cpu_latency` is whether /dev/cpu_dma_latency can be written.
    """
    if not platform.startswith("linux"):
        return [Finding("note", "real time", f"{platform} has no SCHED_FIFO; expect late ticks under load.")]
    fifo = root or rtprio_limit == -1 or rtprio_limit >= 50
    memory = root or memlock_limit == -1 or memlock_limit >= 512 * 2**20
    return [
        _permission("SCHED_FIFO", fifo),
        _permission("short slice", kernel >= (6, 12)),
        _permission("locked memory", memory),
        _permission("no deep sleep", cpu_latency),
        _property("PREEMPT_RT", preempt_rt),
        _property("cores", cores > 1),
    ]


def _permission(name: str, permitted: bool) -> Finding:
    gain, _ = _MEASURES[name]
    return Finding("ok", name, f"permitted; {gain}.") if permitted else _property(name, False)


def _property(name: str, there: bool) -> Finding:
    """A finding about the machine itself, which nobody permits."""
    gain, remedy = _MEASURES[name]
    if there:
        return Finding("ok", name, f"{gain}.")
    return Finding("note", name, f"not there; with it, {gain}. {remedy}.")


def check_compiler(compiler: str | None) -> Finding:
    """Whether policies can be compiled (`runtime serve --engine kernel`)."""
    if compiler is None:
        return Finding("note", "kernel", "no C compiler; policies run in onnxruntime, which takes longer (see docs).")
    return Finding(
        "ok", "kernel", f"{compiler} compiles policies; serve compares each with onnxruntime at every start."
    )


def check_bytecode(module: Path) -> Finding:
    """Python compiles modules at every start that it may not keep compiled; `module` is one that was just imported."""
    if Path(cache_from_source(str(module))).is_file():
        return Finding("ok", "bytecode", "modules are kept compiled.")
    folder = module.parent.parent
    return Finding(
        "note",
        "bytecode",
        "modules are compiled anew at every start, which makes it half as long again (PYTHONDONTWRITEBYTECODE is set, "
        f"or {folder} cannot be written); run once: {sys.executable} -m compileall -q {folder}",
    )


def examine() -> list[Finding]:
    """All checks on this machine."""
    findings = [check_distributions(installed())]
    try:
        from runtime.inference import onnx_session

        findings.append(check_providers(onnx_session.available_providers(), onnx_session.device_providers()))
        findings.append(check_telemetry(onnx_session.telemetry_prevented()))
    except (ShoalError, AttributeError) as error:
        # AttributeError: what is left of the folder after one of two wheels was uninstalled.
        findings.append(Finding("error", "onnxruntime", f"cannot be used: {error}"))
    findings.append(check_compiler(find_compiler()))
    findings.append(check_bytecode(Path(np.__file__)))
    return findings + check_realtime(
        platform=sys.platform,
        kernel=kernel_version(),
        preempt_rt=Path("/sys/kernel/realtime").exists(),
        # Linux only; elsewhere the number is not looked at.
        rtprio_limit=resource.getrlimit(getattr(resource, "RLIMIT_RTPRIO", resource.RLIMIT_NOFILE))[0],
        memlock_limit=resource.getrlimit(resource.RLIMIT_MEMLOCK)[0],
        cpu_latency=os.access(CPU_LATENCY, os.W_OK),
        root=os.geteuid() == 0,
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
    )
