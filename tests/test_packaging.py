"""Extras that can be installed together, the lock file's sources, console scripts and packaged data."""

from __future__ import annotations

import itertools
import subprocess
import sys
import tomllib
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = tomllib.loads((ROOT / "uv.lock").read_text())
EXTRAS = tuple(PYPROJECT["project"]["optional-dependencies"])
CONFLICTS = [{entry["extra"] for entry in group} for group in PYPROJECT["tool"]["uv"]["conflicts"]]
SCRIPTS: dict[str, str] = PYPROJECT["project"]["scripts"]

PACKAGES: dict[str, list[dict[str, Any]]] = {}
"""Locked packages by name; some have one entry per range of Python versions."""
for _package in LOCK["package"]:
    PACKAGES.setdefault(_package["name"], []).append(_package)


def combinations() -> list[frozenset[str]]:
    """Every set of up to two extras; larger ones install the union of their pairs, and conflicts are between two."""
    sizes = range(3)
    return [frozenset(chosen) for size in sizes for chosen in itertools.combinations(EXTRAS, size)]


def supported(extras: frozenset[str]) -> bool:
    return not any(conflict <= extras for conflict in CONFLICTS)


def installed(extras: frozenset[str]) -> set[str]:
    """Names of all that the lock file installs, on any platform and Python: markers are not evaluated."""
    todo = [("shoal", extra) for extra in ("", *extras)]
    seen: set[tuple[str, str]] = set()
    while todo:
        name, extra = pair = todo.pop()
        if pair in seen:
            continue
        seen.add(pair)
        for package in PACKAGES[name]:
            table = package.get("optional-dependencies", {})
            for item in table.get(extra, []) if extra else package.get("dependencies", []):
                todo += [(item["name"], more) for more in ("", *item.get("extra", []))]
    return {name for name, _ in seen}


@pytest.mark.parametrize("extras", combinations(), ids=lambda extras: "+".join(sorted(extras)) or "none")
def test_both_onnxruntimes_only_where_uv_refuses(extras: frozenset[str]) -> None:
    """They install into one folder; a refused combination is refused because both would come."""
    both = {"onnxruntime", "onnxruntime-gpu"} <= installed(extras)
    assert both is not supported(extras)


def test_extras_install_what_they_promise() -> None:
    assert "onnxruntime" in installed(frozenset({"cpu"}))
    assert "onnxruntime-gpu" in installed(frozenset({"gpu"}))
    assert {"jax", "flax", "mujoco-mjx", "jax2onnx", "onnxruntime"} <= installed(frozenset({"train"}))
    assert "jax-cuda12-plugin" in installed(frozenset({"cuda"}))


def test_the_robots_install_has_no_training_library() -> None:
    robot = installed(frozenset({"cpu"}))
    assert robot.isdisjoint({"jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "onnx", "jax2onnx"})


def test_lock_states_what_pyproject_asks_for() -> None:
    (ours,) = PACKAGES["shoal"]
    locked = {(item["name"], item.get("specifier", "")) for item in ours["metadata"]["requires-dist"]}
    project = PYPROJECT["project"]
    asked = {*project["dependencies"], *itertools.chain(*project["optional-dependencies"].values())}
    parsed = [Requirement(text) for text in asked]
    assert {(name, SpecifierSet(text)) for name, text in locked if name != "shoal"} == {
        (requirement.name, requirement.specifier) for requirement in parsed if requirement.name != "shoal"
    }
    assert {item["name"] for item in ours["metadata"]["requires-dev"]["dev"]} == {
        Requirement(text).name for text in PYPROJECT["dependency-groups"]["dev"]
    }


def test_lock_names_only_the_public_registry() -> None:
    urls = {package["source"].get("registry") for package in LOCK["package"]}
    files = [file for package in LOCK["package"] for file in (*package.get("wheels", []), package.get("sdist", {}))]
    urls |= {file["url"] for file in files if file}
    hosts = {urlsplit(url).netloc for url in urls if url is not None}
    assert hosts == {"pypi.org", "files.pythonhosted.org"}


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_console_scripts_module_runs_as_one(script: str) -> None:
    module = SCRIPTS[script].partition(":")[0]
    done = subprocess.run(
        [sys.executable, "-m", module, "--no-such-option"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 2
    assert done.stdout + done.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_console_scripts_exist(script: str) -> None:
    module, _, function = SCRIPTS[script].partition(":")
    assert callable(getattr(import_module(module), function))
    assert SCRIPTS[script] in {entry.value for entry in metadata.entry_points(group="console_scripts", name=script)}


def test_the_wheel_holds_every_room() -> None:
    packages = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert set(packages) == {"shoal", "sim2real", "teacher", "student", "export", "runtime"}
    assert all((ROOT / package / "__init__.py").is_file() for package in packages)


def test_the_workflow_tries_each_extra_alone_by_modules_that_exist() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    tried = workflow["jobs"]["extra"]["strategy"]["matrix"]["include"]
    assert {row["extra"] for row in tried} == {*EXTRAS} - {"gpu", "cuda"}
    modules = [module for row in tried for module in row["modules"].split(", ")]
    elsewhere = {"rtde_control", "rtde_receive"} if sys.version_info >= (3, 13) else set[str]()
    assert [module for module in modules if find_spec(module) is None and module not in elsewhere] == []
