"""How many goals a served policy reaches on a quadruped of Unitree's, by its low-level messages over DDS.

    python -m benchmarks.quadruped.served_unitree [models/quadruped_walk.onnx] [--goals 25] [--quick] [--json PATH]

The robot is `runtime simulate --protocol unitree`, a process of its own: it lies on its belly, the driver of `runtime
serve --robot unitree` stands it up, and a client sends goals, each 1 to 3 m from the one before and facing anywhere,
those of `benchmarks.policies.served_walk`. This process looks at where the robot says that it is: after it stood up, it
has fallen when its base is lower than 0.14 m or leans by more than 60°, which ends the task's episodes, too. Exit
status 1 where fewer than `--at-least` goals are reached, or the robot has fallen.

*Step* is from readings to command; *tick* is the whole of a control period's work, with reading the newest state off
DDS, checking its CRC, and writing the command. Without `--realtime` nothing here asks for privileges. *Load* is the
machine's, of the last minute, before and after: what is beyond a few tenths is other people's.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.commands import console_script
from benchmarks.machine import write_numbers
from benchmarks.policies.served_walk import goals_in_a_row, walking_contract
from benchmarks.transport.serving import serve_goals
from runtime.inference.policy import Policy
from runtime.ros2.domain import LOOPBACK_CONFIG, Participant
from runtime.unitree.body import tilt_deg
from runtime.unitree.config import UnitreeConfig
from runtime.unitree.dds.messages import SPORT_MODE_STATE, SportModeState
from runtime.unitree.dds.newest import RECENT, newest_first
from runtime.unitree.dds.packets import Packet
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.errors import ShoalError

STOOD_M, FALLEN_M, FALLEN_DEG = 0.25, 0.14, 60.0
"""Heights of a base that stands and of one that has fallen, and how far one leans that has."""
_LOOK_S = 0.01


@dataclass(frozen=True)
class Arguments:
    """Serve a policy to a simulated quadruped in another process, and send it goals."""

    file: tyro.conf.Positional[Path] = Path("models/quadruped_walk.onnx")
    goals: int = 25
    at_least: int = 0
    """Goals that must be reached."""
    timeout_s: float = 30.0
    """For each goal."""
    safety: Path | None = Path("models/quadruped_walk.safety.yaml")
    """Settings of the server's safety layer."""
    seed: int = 0
    realtime: bool = False
    """Let the server try SCHED_FIFO."""
    quick: bool = False
    """Two goals, of 15 s each."""
    json: JsonFile | None = None
    """Write the result here too."""


class Falls:
    """Counts how often a robot that stood up is down, by where it stands and how it leans."""

    def __init__(self) -> None:
        self.count, self.stands, self.looks = 0, False, 0
        self.lowest_m, self.leaned_deg = float("inf"), 0.0
        """Of a robot that stands."""

    def see(self, height_m: float, leans_deg: float) -> None:
        """One look."""
        self.looks += 1
        if not self.stands:
            self.stands = height_m > STOOD_M and leans_deg < FALLEN_DEG
            return
        self.lowest_m, self.leaned_deg = min(self.lowest_m, height_m), max(self.leaned_deg, leans_deg)
        if height_m < FALLEN_M or leans_deg > FALLEN_DEG:
            self.count, self.stands = self.count + 1, False


@contextmanager
def watched() -> Iterator[Falls]:
    """Watch where the robot says that it is, until the block is left."""
    falls, ended = Falls(), threading.Event()
    participant = Participant(network=False)

    def watch() -> None:
        reader = participant.reader(UnitreeConfig().odometry.topic_name, SportModeState, qos=RECENT)
        while not ended.wait(_LOOK_S):
            for message in newest_first(reader, SportModeState, print):
                state = Packet.from_cdr(SPORT_MODE_STATE, message.data, "unitree_go/SportModeState")
                falls.see(float(state["position"][2]), tilt_deg(state["imu_state"]["quaternion"].astype(float)))
                break

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield falls
    finally:
        ended.set()
        thread.join()
        participant.close()


@contextmanager
def simulated(policy: Path) -> Iterator[None]:
    """The robot's process."""
    command = [*console_script("runtime"), "simulate", "--model", str(policy), "--protocol", "unitree"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    if not process.stdout.readline():
        raise ShoalError("unitree: the simulation's process ended at once.")
    try:
        yield
    finally:
        process.terminate()
        process.communicate()


def measure(
    file: Path, *, goals: int, timeout_s: float, safety: Path | None, seed: int, realtime: bool
) -> dict[str, Any]:
    """Serve, and sum up; the driver's last second, in which the robot sinks to the ground, is none of it."""
    wanted = goals_in_a_row(Policy(file).contract, goals, seed)
    robot = [
        "--robot",
        "unitree",
        *([] if realtime else ["--no-realtime"]),
        *(["--safety", str(safety)] if safety else []),
    ]
    # A domain of its own, for all three processes.
    os.environ |= {"ROS_DOMAIN_ID": str(random.randrange(100, 200)), "CYCLONEDDS_URI": LOOPBACK_CONFIG}
    with simulated(file), watched() as falls:
        counted: list[int] = []
        served = serve_goals(
            file, wanted, timeout_s=timeout_s, robot=robot, before_end=lambda: counted.append(falls.count)
        )
        return served | {
            "falls": counted[0],
            "lowest_m": round(falls.lowest_m, 4),
            "leaned_deg": round(falls.leaned_deg, 2),
            "looks": falls.looks,
        }


def main() -> None:
    """Print the table and write JSON."""
    arguments = tyro.cli(Arguments, description=__doc__)
    walking_contract(arguments.file)
    count, timeout_s = (2, 15.0) if arguments.quick else (arguments.goals, arguments.timeout_s)
    loads = [round(os.getloadavg()[0], 1)]
    found = measure(
        arguments.file,
        goals=count,
        timeout_s=timeout_s,
        safety=arguments.safety,
        seed=arguments.seed,
        realtime=arguments.realtime,
    )
    loads.append(round(os.getloadavg()[0], 1))
    seconds, step, tick = found["median_time_s"], found["tick_us"], found["loop_us"]
    table = Table("goals", "reached", "falls", "s to goal", "step p50, p99, us", "tick p50, p99, us", "missed", "load")
    table.add_row(
        str(count),
        str(found["goals_reached"]),
        str(found["falls"]),
        "-" if seconds is None else f"{seconds:.1f}",
        f"{step['p50']:.0f}, {step['p99']:.0f}",
        f"{tick['p50']:.0f}, {tick['p99']:.0f}",
        str(found["missed_periods"]),
        " to ".join(map(str, loads)),
    )
    Console().print(table)
    facts = {"file": arguments.file.name, "seed": arguments.seed, "goals_planned": count, "load": loads}
    write_numbers(arguments.json, facts | found)
    if found["goals_reached"] < arguments.at_least or found["falls"]:
        sys.exit(1)


if __name__ == "__main__":
    with command_line():
        main()
