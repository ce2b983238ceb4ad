"""Whether LeRobot reads what `sim2real dataset` writes, frame by frame.

    python -m benchmarks.sim2real.lerobot_dataset --python venv_of_lerobot/bin/python [--quick] [--json PATH]

LeRobot wants other versions of what Shoal is pinned to, so it stays in an environment of its own, and this script asks
that environment's interpreter.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from benchmarks.machine import machine
from benchmarks.sim2real.hidden_robot import Truth, play, record
from benchmarks.sim2real.identification import robot_task
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.errors import ShoalError
from sim2real.files import write_json
from sim2real.identification.excitation import fourier, random_coefficients
from sim2real.logs.lerobot import read_episodes, write_dataset
from sim2real.logs.recording import read_recording

_LONGEST_S = 300.0
_READ = """
import json, sys
from importlib.metadata import version
from lerobot.datasets.lerobot_dataset import LeRobotDataset
data = LeRobotDataset("local/recordings", root=sys.argv[1])
names = [name for name in data[0] if name.startswith("observation.") or name == "action"]
frames = [{name: frame[name].tolist() for name in names} for frame in map(data.__getitem__, range(len(data)))]
print(json.dumps({"lerobot": version("lerobot"), "frames": frames, "episodes": data.num_episodes, "fps": data.fps}))
"""


@dataclass(frozen=True)
class Arguments:
    """Compare a dataset as LeRobot reads it with the recordings it was made of."""

    python: Path
    """Interpreter of an environment with LeRobot."""
    recordings: int = 4
    duration_s: float = 20.0
    """Of each."""
    quick: bool = False
    """One recording of two seconds."""
    json: JsonFile | None = None
    """Write the numbers here."""


def read_by_lerobot(python: Path, folder: Path) -> dict[str, Any]:
    """Every frame as LeRobot gives it, by feature; `ShoalError` where it does not."""
    try:
        # Nothing of LeRobot's may come from our environment, nor from a hub.
        environment = {"PATH": os.defpath, "HOME": str(Path.home()), "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(
            [python, "-c", _READ, folder], env=environment, capture_output=True, text=True, timeout=_LONGEST_S
        )
    except OSError as error:
        raise ShoalError(f"--python {python}: {error.strerror or error}.") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise ShoalError(f"--python {python}: LeRobot does not read the dataset: {last}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Print what differs; exit status 1 where anything does."""
    arguments = tyro.cli(Arguments)
    recordings = 1 if arguments.quick else arguments.recordings
    duration_s = 2.0 if arguments.quick else arguments.duration_s
    task, rng = robot_task("planar"), np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as scratch:
        paths = []
        for which in range(recordings):
            wanted = fourier(task, random_coefficients(len(task.contract.joint_names), rng), duration_s).command
            paths.append(record(Path(scratch) / f"{which}.mcap", play(task, Truth(), wanted, seed=which)))
        episodes = read_episodes([read_recording(path) for path in paths])
        write_dataset(Path(scratch) / "dataset", episodes)
        theirs = read_by_lerobot(arguments.python, Path(scratch) / "dataset")
    ours = {f.name: np.concatenate([arrays[f.name] for arrays in episodes.arrays]) for f in episodes.features}
    differing = [
        name
        for name in ours
        if not np.array_equal(ours[name], np.array([x[name] for x in theirs["frames"]], np.float32))
    ]
    frames = len(ours["action"])
    print(f"LeRobot {theirs['lerobot']}: {theirs['episodes']} episodes, {frames} frames, {theirs['fps']} Hz")
    print(f"of {len(ours)} features differ: {', '.join(differing) or 'none'}")
    if arguments.json is not None:
        numbers = {
            "lerobot": theirs["lerobot"],
            "episodes": theirs["episodes"],
            "frames": frames,
            "differing": differing,
        }
        write_json(arguments.json, {"machine": machine(), **numbers})
    if differing or theirs["episodes"] != len(episodes.arrays):
        raise SystemExit(1)


if __name__ == "__main__":
    with command_line():
        main()
