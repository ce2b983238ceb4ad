"""The gateway's optional parts, without a process: what fails is said, and concerns nobody else."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from runtime.gateway import process
from runtime.gateway.config import GatewayConfig
from runtime.ipc.telemetry_ring import Ring
from sim2real.contract import Contract


def test_a_part_that_fails_is_said_and_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    async def fails() -> None:
        raise OSError(5, "the terminal is gone")

    asyncio.run(process._optional("display", fails()))
    assert capsys.readouterr().err == "display    off: [Errno 5] the terminal is gone; the robot goes on\n"


def test_parts_that_cannot_start_any_more_are_left_out(
    contract: Contract, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ring = Ring.create(contract)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = GatewayConfig(
            contract=contract,
            descriptor=-1,
            listening=(),
            display="none",
            telemetry=ring.descriptor,
            record=tmp_path / "vanished" / "run.mcap",
            metrics=taken.getsockname()[1],
        )
        for sink in process._sinks(config, ring):
            sink.close()
    ring.close()
    said = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in said] == ["recording  stopped", "metrics    off"]
