from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = [path for path in sorted(ROOT.glob("benchmarks/**/*.py")) if "__main__" in path.read_text()]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_benchmark_ends_as_commands_do(path: Path) -> None:
    ending = path.read_text().partition('if __name__ == "__main__":\n')[2]
    assert ending.startswith("    with command_line():\n"), "a user's error would be a traceback"
    assert "except ShoalError" not in path.read_text().partition("def main()")[2].partition("\n\n\n")[0]
