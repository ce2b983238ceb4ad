"""What the documentation shows can be typed: every command is understood, and runs or says why it is not run here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from sim2real.child_process import free_port
from tests.documented_commands import PAGES, PROGRAMS, ROOT, SHELL_LANGUAGES, Block, blocks, commands, inline, refusal

BLOCKS = list(blocks())
SHELL = [block for block in BLOCKS if block.language in SHELL_LANGUAGES]


@pytest.mark.parametrize("block", SHELL, ids=lambda block: block.name)
def test_shown_commands_exist_with_these_arguments(block: Block) -> None:
    assert [said for line in block.lines for command in commands(line) if (said := refusal(command))] == []


def test_commands_in_sentences_exist_with_these_flags() -> None:
    found = {command: where for where, command in inline()}
    assert len(found) > 50
    refused = {where: said for command, where in found.items() if (said := refusal(commands(command)[0], whole=False))}
    assert refused == {}


@pytest.mark.parametrize(
    "line",
    [
        "runtime serve --model student.onnx --pgae 8080",
        "runtime serv --model student.onnx",
        "sim2real stress --model student.onnx --quickly",
        "train-teacher --task franka_pose --update 5",
        "distill --teacher runs/teacher && distill sweep --teachers runs/teacher",
        "python -m benchmarks.latency.tick --fast",
        "python -m benchmarks.latency.tock",
        "runtime inspect models/franka_nose.onnx",
        "make tests",
        "pip install 'shoal[pages]'",
        "shoal serve",
    ],
)
def test_a_wrong_command_is_found(line: str) -> None:
    assert [said for command in commands(line) if (said := refusal(command))]


def test_a_wrong_flag_in_a_sentence_is_found() -> None:
    assert not refusal(commands("runtime serve")[0], whole=False)
    assert refusal(commands("runtime serve --pgae 8080")[0], whole=False)


def test_blocks_without_a_language_hold_no_commands() -> None:
    starts = tuple(f"{program} " for program in (*PROGRAMS, "$", "python -m"))
    plain = [block for block in BLOCKS if block.language not in SHELL_LANGUAGES and block.language != "python"]
    assert [block.name for block in plain if any(line.startswith(starts) for line in block.body.splitlines())] == []


def test_every_block_is_run_or_says_why_not() -> None:
    assert [block.name for block in SHELL if not block.is_skipped and not block.runs] == []


def test_every_mark_is_about_a_block_and_its_commands() -> None:
    marks = sum(line.startswith("<!-- not run") for page in PAGES for line in page.read_text().splitlines())
    assert marks == sum(block.is_skipped or bool(block.skipped) for block in SHELL)
    for block in SHELL:
        names = [" ".join(command) + " " for line in block.lines for command in commands(line)]
        assert [start for start in block.skipped if not any(name.startswith(f"{start} ") for name in names)] == []


@pytest.mark.parametrize("block", [block for block in SHELL if block.runs], ids=lambda block: block.name)
def test_shown_commands_run(block: Block, tmp_path: Path) -> None:
    """As they stand but for the port, in a folder with the files that the guides have by then."""
    (tmp_path / "models").symlink_to(ROOT / "models")
    (tmp_path / "student.onnx").symlink_to(ROOT / "models" / "franka_pose.onnx")
    script = "\n".join([*map(_with_wait, block.runs), "kill $(jobs -p) 2>/dev/null || true", "wait || true"])
    script = script.replace("--page 8080", f"--page {free_port()}")
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "XDG_RUNTIME_DIR": str(tmp_path),
    }
    log = tmp_path / "log"
    with log.open("w") as out:
        shell = subprocess.Popen(
            ["bash", "-ec", script], cwd=tmp_path, env=environment, stdout=out, stderr=out, start_new_session=True
        )
        try:
            status = shell.wait(500)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
    assert status == 0, log.read_text()


def _with_wait(line: str) -> str:
    """A server in the background is waited for, as people do."""
    if not line.partition("#")[0].rstrip().endswith("&"):
        return line
    return f"{line}\nuntil [ -S $XDG_RUNTIME_DIR/shoal/runtime.sock ]; do kill -0 $!; sleep 0.1; done"
