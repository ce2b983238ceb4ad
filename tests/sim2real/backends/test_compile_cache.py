from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from sim2real.backends.compile_cache import cache_folder, keep_compiled_programs, shrink
from sim2real.child_process import python_program

PROGRAM = """
import sys
from sim2real.backends.compile_cache import keep_compiled_programs
if "late" in sys.argv:
    import jax
keep_compiled_programs()
import jax, logging
compiled = []
class Seen(logging.Handler):
    def emit(self, record):
        compiled.append("cache miss" in record.getMessage().lower() and "writing" not in record.getMessage().lower())
logger = logging.getLogger("jax._src.compiler")
logger.setLevel(logging.DEBUG), logger.addHandler(Seen())
logger.propagate = False
value = jax.jit(lambda x: x * 2 + 1)(20.5)
print(float(value), sum(compiled))
"""


def start(cache: Path, *arguments: str) -> tuple[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    environment = kept | {"XDG_CACHE_HOME": str(cache)}
    done = subprocess.run(
        python_program(PROGRAM, *arguments), env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip(), done.stderr


@pytest.mark.parametrize("when", ["early", "late"])
def test_a_second_start_compiles_nothing(when: str, tmp_path: Path) -> None:
    first, _ = start(tmp_path, when)
    assert first == "42.0 1"
    files = sorted((tmp_path / "shoal" / "xla").glob("*/*-cache"))
    assert files
    assert start(tmp_path, when)[0] == "42.0 0"
    assert sorted((tmp_path / "shoal" / "xla").glob("*/*-cache")) == files


def test_half_a_file_is_compiled_again(tmp_path: Path) -> None:
    """Another process that is just writing it, or one that was killed."""
    start(tmp_path)
    for file in (tmp_path / "shoal" / "xla").glob("*/*-cache"):
        file.write_bytes(file.read_bytes()[:100])
    assert start(tmp_path)[0].startswith("42.0")


def test_a_folder_that_others_may_write_into_is_not_used(tmp_path: Path) -> None:
    folder = tmp_path / "shoal" / "xla"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    output, notes = start(tmp_path)
    assert output.startswith("42.0")
    assert f"note: compiled programs are not kept (others could write into {folder}; chmod go-w" in notes
    assert not [*folder.glob("*/*-cache")]


def test_a_folder_that_cannot_be_made_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "shoal").write_text("in the way")
    output, notes = start(tmp_path)
    assert output.startswith("42.0")
    assert "note: compiled programs are not kept (" in notes


def test_a_folder_that_the_user_names_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    keep_compiled_programs()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path / "own")
    assert not [*tmp_path.iterdir()]


def test_the_folder_is_its_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder().stat().st_mode & 0o777 == 0o700


def test_the_longest_unused_goes_first(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "older", "oldest")):
        (tmp_path / name).write_bytes(b"x" * 100)
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    shrink(tmp_path, 250)
    assert {path.name for path in tmp_path.iterdir()} == {"new", "older"}
    shrink(tmp_path, 250)
    assert len([*tmp_path.iterdir()]) == 2
    shrink(tmp_path, 0)
    assert not [*tmp_path.iterdir()]
