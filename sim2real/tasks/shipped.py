"""The tasks that come with Shoal, by name; nothing is loaded to list them."""

from __future__ import annotations

from importlib import resources
from pathlib import Path


def tasks_folder() -> Path:
    """Where their YAML files are."""
    return Path(str(resources.files("sim2real"))) / "tasks"


def task_names() -> list[str]:
    """Names of the tasks that ship with Shoal."""
    return sorted(path.stem for path in tasks_folder().glob("*.yaml"))
