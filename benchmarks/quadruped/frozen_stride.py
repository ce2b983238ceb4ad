"""How often a walking robot falls when it is made to hold in the middle of a stride.

    python -m benchmarks.quadruped.frozen_stride [models/quadruped_walk.onnx] [--quick] [--json PATH]

The robot is sent somewhere, and walks. At a moment of its gait, one control period after the other, its readings stop
coming (or, every second time, its odometry does), so that the safety layer holds it for three seconds; then they come
again, and it walks on. It fell when its base leaned by more than 60° at any time. With `stand_speed_share` the targets
go to the home posture while it is held, without they stay where the stride left them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.machine import write_numbers
from runtime.diagnostics.chaos.rig import Rig, copied, copy_readings
from runtime.inference.policy import Policy
from runtime.robot.readings import Readings
from runtime.safety import SafetyConfig, load_safety
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line

FALLEN_DEG = 60.0
_BEFORE, _HELD, _AFTER = 60, 150, 150
"""Control periods."""


@dataclass(frozen=True)
class Arguments:
    """Hold a walking robot at moments of its gait."""

    file: tyro.conf.Positional[Path] = Path("models/quadruped_walk.onnx")
    safety: Path = Path("models/quadruped_walk.safety.yaml")
    """Settings of the safety layer, but for `stand_speed_share`."""
    shares: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2, 0.4)
    """Of the velocity limits, on the way to the home posture; 0 leaves the setting out."""
    moments: int = 36
    """Of the gait; two strides of the shipped quadruped."""
    quick: bool = False
    """Six moments, and two shares."""
    json: JsonFile | None = None
    """Write the rows here too."""


def leaned_most_deg(policy: Policy, config: SafetyConfig, moment: int) -> float:
    """How far the base leans at most, held at `moment` of the gait and after that."""
    rig = Rig(policy, config=config)
    rig.move()
    rig.tick(_BEFORE + moment)
    kept = copied(rig.driver.newest())

    def odometry_lost(out: Readings) -> None:
        for reading in out.contract.readings:
            if reading.source == "odometry" and reading.name in out.named:
                out[reading.name][:] = math.nan

    faults: tuple[Callable[[Readings], object], ...] = (lambda out: copy_readings(kept, out), odometry_lost)
    leaned = 0.0
    with rig.fault(faults[moment % 2]):
        for _ in range(_HELD):
            rig.tick(1)
            leaned = max(leaned, _leans_deg(rig))
    for _ in range(_AFTER):
        rig.tick(1)
        leaned = max(leaned, _leans_deg(rig))
    return leaned


def _leans_deg(rig: Rig) -> float:
    """By the free joint, which comes first in `qpos` of the robots that this is about."""
    return math.degrees(2 * math.asin(min(1.0, float(np.hypot(*rig.robot.data.qpos[4:6])))))


def main() -> None:
    """Print the table and write JSON."""
    arguments = tyro.cli(Arguments, description=__doc__)
    policy, settings = Policy(arguments.file), load_safety(arguments.safety)
    shares, moments = ((0.0, 0.2), 6) if arguments.quick else (arguments.shares, arguments.moments)
    table = Table("stand_speed_share", "moments", "fell", "leaned most, median, deg", title=arguments.file.name)
    rows = []
    for share in shares:
        config = settings.model_copy(update={"stand_speed_share": share or None})
        leaned = [leaned_most_deg(policy, config, moment) for moment in range(moments)]
        row = {
            "stand_speed_share": share or None,
            "moments": moments,
            "fell": sum(angle > FALLEN_DEG for angle in leaned),
            "leaned_median_deg": round(float(np.median(leaned)), 2),
        }
        table.add_row(f"{share:g}" if share else "unset", str(moments), str(row["fell"]), f"{np.median(leaned):.1f}")
        rows.append(row)
    Console().print(table)
    write_numbers(arguments.json, {"file": arguments.file.name, "rows": rows})


if __name__ == "__main__":
    with command_line():
        main()
