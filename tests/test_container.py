"""The container image: linted always, built and run where a builder works (`-m slow`, as CI does)."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
LINES = (ROOT / "Dockerfile").read_text().splitlines()
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HADOLINT = Path(sys.executable).parent / "hadolint"
TAG = "shoal-test"


def arguments(instruction: str) -> list[list[str]]:
    """Of every such line."""
    return [line.split()[1:] for line in LINES if line.startswith(f"{instruction} ")]


def copied() -> set[str]:
    """What of this folder goes into the image's build."""
    rows = [row for row in arguments("COPY") if not row[0].startswith("--from")]
    return {source.rstrip("/") for *sources, _ in rows for source in sources}


def lint(text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([HADOLINT, "--no-color", "-"], input=text, capture_output=True, text=True, check=False)


def test_the_linter_has_nothing_to_say() -> None:
    done = lint("\n".join(LINES) + "\n")
    assert (done.stdout, done.returncode) == ("", 0)


@pytest.mark.parametrize("worse", ["RUN pip install numpy", "RUN cd /tmp && sudo ls", "USER root", "COPY a b c"])
def test_the_linter_sees_what_is_wrong(worse: str) -> None:
    done = lint("\n".join([*LINES, worse]) + "\n")
    assert done.stdout
    assert done.returncode == 1


def test_it_runs_the_demo_as_no_root() -> None:
    assert arguments("USER")[-1] == ["1000"]
    (entrypoint,) = (line for line in LINES if line.startswith("ENTRYPOINT"))
    assert '["shoal-demo", ' in entrypoint
    syncs = [line for line in LINES if "uv sync" in line]
    assert [re.findall(r"--extra (\w+)", line) for line in syncs] == [["demo"], ["demo"]]
    assert all("--frozen --no-default-groups" in line for line in syncs)


def test_all_that_the_wheel_is_built_of_is_copied_and_nothing_else_is_sent() -> None:
    wheel, project = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"], PYPROJECT["project"]
    needed = {*wheel["packages"], *wheel["force-include"], project["readme"], "pyproject.toml", "uv.lock", "LICENSE"}
    assert copied() == needed
    assert [name for name in copied() if not (ROOT / name).exists()] == []
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert ignored[0] == "*"
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == needed


def test_it_is_made_with_the_versions_of_this_project() -> None:
    bases = [row[0] for row in arguments("FROM")]
    versions = {re.fullmatch(r"python:([\d.]+)-slim-\w+", base)[1] for base in bases}  # type: ignore[index]
    (version,) = versions
    assert version in SpecifierSet(PYPROJECT["project"]["requires-python"])
    (uv,) = re.findall(r"uv==([\d.]+)", "\n".join(LINES))
    assert f"UV_VERSION := {uv}\n" in (ROOT / "Makefile").read_text()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_it_is_built_and_shows_a_policy() -> None:
    builder = next((name for name in ("docker", "podman") if works(name)), None)
    if builder is None:
        pytest.skip("neither docker nor podman works here; the linter's tests ran instead")
    subprocess.run([builder, "build", "--tag", TAG, ROOT], check=True, timeout=1500)
    look = [builder, "run", "--rm", "--entrypoint", "python", TAG, "-c", "import os; print(os.getuid())"]
    assert subprocess.run(look, capture_output=True, text=True, check=True, timeout=300).stdout.strip() == "1000"
    shown = subprocess.Popen(
        [builder, "run", "--rm", "--init", "--name", TAG, TAG, "franka_reach"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert any(line.startswith("ready") for line in shown.stdout or ())
    finally:
        subprocess.run([builder, "stop", TAG], check=False, timeout=60)
        shown.communicate(timeout=60)


def works(builder: str) -> bool:
    """Whether it is installed and answers; a client may be there without its daemon."""
    if shutil.which(builder) is None:
        return False
    return subprocess.run([builder, "info"], capture_output=True, check=False, timeout=60).returncode == 0
