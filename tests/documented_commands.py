"""The commands that the documentation shows: where they stand, what they are made of, and whether they are accepted.

A fenced block of language `console` or `sh` holds commands, at prompts `$ ` where output stands between them. What a
comment above it names is not run by the tests, with a reason:

    <!-- not run; it takes a robot -->                      the whole block
    <!-- not run: train-teacher, runtime top; ... -->       commands that begin so
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import io
import re
import shlex
import sys
import tomllib
from collections.abc import Callable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import tyro

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "models").glob("*.md"))]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
_SCRIPTS: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
PROGRAMS = tuple(_SCRIPTS)
FOREIGN = {".", "cat", "docker", "echo", "pip", "make", "srun", "rerun", "ros2", ".venv/bin/pre-commit"}
"""What else may be shown; never run."""
SHELL_LANGUAGES = {"console", "sh", "bash", "shell"}
_MARK = re.compile(r"<!-- not run(?:: (?P<what>[^;]+))?; (?P<why>.+) -->")
_INLINE = re.compile(rf"`((?:{'|'.join(PROGRAMS)}|python -m) [^`\n]*[^`\n.])`")
_OUR_FOLDERS = ("models/", "benchmarks/", "examples/", "docs/")
_ENDS = {"&&", "||", "|", "&", ";"}


class Block(NamedTuple):
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    body: str
    is_skipped: bool
    skipped: tuple[str, ...]
    """Beginnings of the commands that are not run."""

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def lines(self) -> list[str]:
        """What a shell is given: continued lines as one, and what `cat` is given with its line."""
        text = self.body.replace("\\\n", " ")
        if re.search(r"^\$ ", text, re.MULTILINE):
            return [line[2:] for line in text.splitlines() if line.startswith("$ ")]
        found: list[str] = []
        end = ""
        for line in text.splitlines():
            if end:
                found[-1] += f"\n{line}"
                end = "" if line == end else end
            elif line.strip():
                found.append(line)
                end = here[1] if (here := re.search(r"<<(\w+)", line)) else ""
        return found

    @property
    def runs(self) -> list[str]:
        """The lines that are run: of our commands, none of which is marked."""
        return [] if self.is_skipped else [line for line in self.lines if self._is_run(commands(line))]

    def _is_run(self, given: list[list[str]]) -> bool:
        names = [" ".join(command) + " " for command in given]
        ours = all(command[0] not in FOREIGN - {"cat", "echo"} for command in given)
        return ours and not any(name.startswith(f"{start} ") for name in names for start in self.skipped)


def blocks() -> Iterator[Block]:
    """Of all pages."""
    for page in PAGES:
        fence, start, body, mark = "", 0, list[str](), None
        for number, line in enumerate(page.read_text().splitlines(), 1):
            if fence and line.strip() == "```":
                what = mark["what"] if mark else None
                skipped = tuple(part.strip() for part in what.split(",")) if what else ()
                yield Block(page, start, fence[3:], "\n".join(body), mark is not None and not skipped, skipped)
                fence, mark = "", None
            elif fence:
                body.append(line)
            elif line.lstrip().startswith("```"):
                fence, start, body = line.strip(), number, []
            elif line.strip():
                mark = _MARK.fullmatch(line.strip())


def inline() -> Iterator[tuple[str, str]]:
    """Commands within sentences and tables: where, and what."""
    for page in PAGES:
        outside = re.sub(r"```.*?```", lambda match: "\n" * match[0].count("\n"), page.read_text(), flags=re.DOTALL)
        for number, line in enumerate(outside.splitlines(), 1):
            for command in _INLINE.findall(line):
                yield f"{page.relative_to(ROOT)}:{number}", command


def commands(line: str) -> list[list[str]]:
    """The simple commands of a line: programs with their arguments, without comments and redirections."""
    lexer = shlex.shlex(line.partition("\n")[0], posix=True, punctuation_chars=";<>|&")
    lexer.whitespace_split, lexer.commenters = True, "#"
    found: list[list[str]] = [[]]
    tokens = iter(lexer)
    for token in tokens:
        if token in _ENDS:
            found.append([])
        elif token.startswith((">", "<")):
            next(tokens)
        elif found[-1] or not re.fullmatch(r"\w+=.*", token):
            found[-1].append(token)
    return [command for command in found if command]


def refusal(command: list[str], *, whole: bool = True) -> str:
    """Why this command would not do what it says; empty when it would. In a sentence it may lack arguments."""
    if command[0] == "srun":
        command = command[next(i for i, word in enumerate(command) if word in PROGRAMS) :]
    program, *arguments = command
    if missing := [word for word in arguments if word.startswith(_OUR_FOLDERS) and not (ROOT / word).exists()]:
        return f"there is no {missing[0]}"
    understood = _refused if whole else _unknown_flags
    match program, arguments:
        case "make", [target]:
            return "" if re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE) else "no such target"
        case "pip", ["install", what] if extra := re.fullmatch(r"(?:\.|shoal)\[(\w+)\]", what):
            return "" if f"\n{extra[1]} = [" in (ROOT / "pyproject.toml").read_text() else "no such extra"
        case "uvx", ["--from", what, *command]:
            return refusal(["pip", "install", what]) or refusal(command, whole=whole)
        case "python", ["-m", module, *rest]:
            if importlib.util.find_spec(module) is None:
                return f"there is no module {module}"
            if main := getattr(importlib.import_module(module), "main", None):
                return understood(main, module, rest)
            return f"{module} takes no arguments" if rest else ""
        case name, _ if name in PROGRAMS:
            return understood(_main(name), name, arguments)
    return "" if program in FOREIGN else f"{program} is no program that the documentation may show"


class _Accepted(BaseException):
    """The arguments are understood."""


def _main(program: str) -> Callable[[], object]:
    if program == "runtime":
        # Not its `main`, whose emergency stop needs no parser.
        from runtime.commands.all_commands import run

        return lambda: run(sys.argv[1:])
    module, _, function = _SCRIPTS[program].partition(":")
    main: Callable[[], object] = getattr(importlib.import_module(module), function)
    return main


def _refused(main: Callable[[], object], program: str, arguments: list[str]) -> str:
    status, said = _parsed(main, program, arguments)
    return said if status else ""


def _unknown_flags(main: Callable[[], object], program: str, arguments: list[str]) -> str:
    """As above of what its help does not name."""
    status, said = _parsed(main, program, [*takewhile(lambda word: not word.startswith("-"), arguments), "--help"])
    unknown = [word for word in arguments if word.startswith("--") and word.partition("=")[0] not in said]
    return said if status else " ".join(unknown)


def _parsed(main: Callable[[], object], program: str, arguments: list[str]) -> tuple[int, str]:
    """Run `main` up to the point at which its arguments are parsed: the exit status by then, and what was printed."""
    parse, output = tyro.cli, io.StringIO()

    def accept(*args: Any, **options: Any) -> None:
        parse(*args, **options)
        raise _Accepted

    def accepting(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def accepted(**options: object) -> None:
            raise _Accepted

        return accepted

    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        patch.setattr(sys, "argv", [program, *arguments])
        patch.setattr(tyro, "cli", accept)
        patch.setattr("sim2real.cli.COMMANDS", tuple(map(accepting, importlib.import_module("sim2real.cli").COMMANDS)))
        patch.setenv("COLUMNS", "1000")
        try:
            main()
        except _Accepted:
            return 0, output.getvalue()
        except SystemExit as ended:
            return int(ended.code or 0), output.getvalue()
    return 0, output.getvalue()
