from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = [path for path in sorted(ROOT.glob("benchmarks/**/*.py")) if "__main__" in path.read_text()]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_benchmark_ends_as_commands_do(path: Path) -> None:
    ending = path.read_text().partition('if __name__ == "__main__":\n')[2]
    assert ending.startswith("    with command_line():\n"), "a user's error would be a traceback"
    assert "except ShoalError" not in path.read_text().partition("def main()")[2].partition("\n\n\n")[0]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_benchmark_finds_out_at_its_end_that_it_cannot_write(path: Path) -> None:
    assert "    json: Path" not in path.read_text(), "use JsonFile"


def test_an_impossible_path_is_refused_before_anything_is_measured() -> None:
    command = [sys.executable, "-m", "benchmarks.learning.memory", "--json", "/dev/null/out.json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: --json: cannot write /dev/null/out.json: Not a directory; choose another path.\n"
