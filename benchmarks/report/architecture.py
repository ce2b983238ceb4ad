"""The architecture picture, drawn from the code: packages, their rooms, and which package imports which.

    python -m benchmarks.report.architecture [--output docs/images/architecture.svg]

Rooms are the folders and modules that `benchmarks.structure` finds; each is wide by its lines of code. What a package
imports is read from its source.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from html import escape
from pathlib import Path

import tyro

from benchmarks.structure import ROOT, measure
from sim2real.console import command_line

PACKAGES = {
    "sim2real": "contract, robots, tasks, simulation, gap",
    "teacher": "deep contrastive goal-conditioned RL",
    "student": "distillation",
    "export": "one ONNX file",
    "runtime": "what runs on the robot, without JAX",
}
"""In the order in which data flows, with what each is for."""
_ROWS = (("sim2real",), ("teacher",), ("student", "export"), ("runtime",))
_WIDTH, _MARGIN, _HEIGHT, _GAP = 980, 6, 41, 4
_COLOURS = {
    "sim2real": "#0f766e",
    "teacher": "#1d4ed8",
    "student": "#6d28d9",
    "export": "#9d174d",
    "runtime": "#b45309",
}


@dataclass(frozen=True)
class Arguments:
    """Draw the packages."""

    output: Path = Path("docs/images/architecture.svg")


def imports_between(root: Path = ROOT) -> dict[str, set[str]]:
    """The packages that each package imports, wherever the import stands."""
    found: dict[str, set[str]] = {}
    for package in PACKAGES:
        names: set[str] = set()
        for file in (root / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.ImportFrom) and node.module:
                    names.add(node.module.split(".")[0])
                elif isinstance(node, ast.Import):
                    names |= {alias.name.split(".")[0] for alias in node.names}
        found[package] = (names & {*PACKAGES}) - {package}
    return found


def svg() -> str:
    """The picture as text."""
    height = len(_ROWS) * (_HEIGHT + _GAP) + _GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        'font-family="system-ui, sans-serif" aria-label="The packages of Shoal and their rooms">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff" rx="10"/>',
    ]
    arrows = imports_between()
    for place, row in enumerate(_ROWS):
        width = (_WIDTH - 2 * _MARGIN - (len(row) - 1) * _GAP) / len(row)
        for column, name in enumerate(row):
            needs = ", ".join(other for other in PACKAGES if other in arrows[name]) or "nothing of ours"
            caption = f"{PACKAGES[name]}; imports {needs}"
            left, top = _MARGIN + column * (width + _GAP), _GAP + place * (_HEIGHT + _GAP)
            parts += _package(name, caption, left=left, top=top, width=width)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _package(name: str, caption: str, *, left: float, top: float, width: float) -> list[str]:
    colour = _COLOURS[name]
    parts = [
        f'<rect x="{left:g}" y="{top}" width="{width:g}" height="{_HEIGHT}" rx="8" fill="{colour}" opacity="0.10"/>',
        f'<text x="{left + 14:g}" y="{top + 14}" font-size="15" font-weight="700" fill="{colour}">{name}/</text>',
        f'<text x="{left + 96:g}" y="{top + 14}" font-size="13" fill="#334155">{escape(caption)}</text>',
    ]
    lines = {box: count for box, count in measure(name).lines.items() if not box.startswith("_")}
    shown = sorted(lines, key=lambda box: -lines[box])
    at, space = left + 14, width - 28
    while sum(_needs(room) + _GAP for room in shown) > space:
        shown.pop()
    spare = space - sum(_needs(room) + _GAP for room in shown)
    total = sum(lines[room] for room in shown)
    for room in shown:
        wide = _needs(room) + spare * lines[room] / total
        parts.append(
            f'<rect x="{at:.0f}" y="{top + 19}" width="{wide:.0f}" height="18" rx="4" fill="{colour}"/>'
            f'<text x="{at + wide / 2:.0f}" y="{top + 32}" font-size="11.5" text-anchor="middle" fill="#ffffff">'
            f"{escape(room.replace('_', ' '))}</text>"
        )
        at += wide + _GAP
    return parts


def _needs(room: str) -> float:
    """Width of a room's name, in pixels."""
    return 14 + 7.0 * len(room)


def main() -> None:
    """Write the picture."""
    arguments = tyro.cli(Arguments)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(svg())
    print(arguments.output)


if __name__ == "__main__":
    with command_line():
        main()
