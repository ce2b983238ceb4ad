"""The tasks that have names: those that come with Shoal, and those of other packages; nothing is loaded to list them.

A package names its tasks by entry points of the group `shoal.tasks`: `pick = "my_robot"` is `pick.yaml` in the package
`my_robot`, beside its MJCF.
"""

from __future__ import annotations

import difflib
import importlib.util
from importlib import metadata, resources
from pathlib import Path

from sim2real.errors import ShoalError

ENTRY_POINTS = "shoal.tasks"


def tasks_folder() -> Path:
    """Where the YAML files of the shipped tasks are."""
    return Path(str(resources.files("sim2real"))) / "tasks"


def task_names() -> list[str]:
    """Names of the tasks that ship with Shoal."""
    return sorted(path.stem for path in tasks_folder().glob("*.yaml"))


def packaged_tasks() -> dict[str, str]:
    """Names of the tasks of other packages, and the package of each; shipped names are Shoal's own."""
    points = {point.name: point.value for point in metadata.entry_points(group=ENTRY_POINTS)}
    return {name: points[name] for name in sorted(points) if name not in task_names()}


def task_file(name: str) -> Path:
    """The YAML file of a task by name; `ShoalError` with the known ones where there is none."""
    if name in task_names():
        return tasks_folder() / f"{name}.yaml"
    packaged = packaged_tasks()
    if name not in packaged:
        others = f"; of other packages {', '.join(packaged)}" if packaged else ""
        close = difflib.get_close_matches(name, [*task_names(), *packaged], n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ";"
        raise ShoalError(
            f"task: unknown task {name!r}{hint} shipped tasks are {', '.join(task_names())}{others}, or give the path "
            "of a .yaml file."
        )
    try:
        spec = importlib.util.find_spec(packaged[name])
    except (ImportError, ValueError):
        spec = None
    folders = list(spec.submodule_search_locations or []) if spec is not None else []
    found = [path for folder in folders if (path := Path(folder) / f"{name}.yaml").is_file()]
    if not found:
        raise ShoalError(
            f"task {name!r}: the entry point {ENTRY_POINTS} says {packaged[name]!r}, and that is no package with a "
            f"file {name}.yaml; install it anew, or mend its pyproject.toml."
        )
    return found[0]
