"""What listener process and gateway are told."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from runtime.monitoring.status_line import DisplayKind
from sim2real.contract import Contract


class GatewayConfig(BaseModel):
    """What the control process tells its listener process and through it the gateway."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    control: int = Field(default_factory=os.getpid)
    """Process id of the control process, which makes this, and may have ended when others read it."""
    contract: Contract
    descriptor: int
    """Of the shared memory, inherited."""
    listening: tuple[tuple[int, ...], ...]
    """Descriptors of the sockets of each address; each process has numbers of its own for them."""
    display: DisplayKind
    telemetry: int
    """Descriptor of the telemetry ring, inherited."""
    record: Path | None = None
    """MCAP file to write."""
    facts: dict[str, str] = {}
    """What is served: policy file and digests, driver, options; also kept in the recording."""
    metrics: int | None = None
    """Port of the Prometheus endpoint."""
    token: str = ""
    """Asked for on TCP; empty for none."""
    mjcf: Path | None = None
    """For goals in joint positions; the MJCF that ships with Shoal if not given."""
    fifo_priority: int | None = None
    """SCHED_FIFO priority that the listener process tries, below the control process's."""
