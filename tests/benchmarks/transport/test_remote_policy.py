"""Every row of the remote-policy benchmark answers with commands; the times themselves are the benchmark's business."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.transport.remote_clients import CLIENTS
from benchmarks.transport.remote_policy import ROWS, Clock, measure

POLICY = Path(__file__).parents[3] / "models" / "franka_pose.onnx"


@pytest.mark.parametrize(
    "row", [name if name == "in process" else pytest.param(name, marks=pytest.mark.slow) for name in ROWS]
)
def test_row_answers(row: str, tmp_path: Path) -> None:
    clock = Clock(0.04)
    with CLIENTS[row](POLICY, tmp_path) as connection:
        times = measure(connection, clock, 5, paced=False)
        command = connection.ask(clock())
    assert (times > 0).all()
    assert command.shape == (7,)
    assert np.isfinite(command).all()
