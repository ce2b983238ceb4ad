"""How a package is laid out: its rooms, the imports between them, and which of those run against the order.

    python -m benchmarks.structure [--package runtime] [--json PATH]

A *box* is a folder or a module directly inside the package; an *arrow* leads from a box to one that it imports,
wherever the import stands. An arrow runs *upward* when the imported box comes later in `ORDER`; a *circle* is a set of
boxes that reach each other. Imports are read with `ast`; nothing is executed.

What stands under `if TYPE_CHECKING:` names a type and loads nothing, so that a reading's method may say which contract
it is asked about, and the contract be made of readings. Such imports are counted apart, where no other leads that way.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import tyro

from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.files import write_json

ROOT = Path(__file__).parents[1]

ORDER: dict[str, tuple[str, ...]] = {
    "runtime": (
        *(
            "status",
            "options",
            "memory",
            "process",
            "native",
            "robot",
            "realtime",
            "goals",
            "inference",
            "safety",
            "protocol",
            "ipc",
        ),
        *(
            "drivers",
            "page",
            "ros2",
            "unitree",
            "control",
            "recording",
            "policy_server",
            "monitoring",
            "gateway",
            "diagnostics",
            "server",
        ),
        *("commands", "cli"),
    ),
    "sim2real": (
        *("errors", "drawing", "progress", "child_process", "rotations", "strict_yaml", "frozen", "files", "pages"),
        *("console", "world", "robots", "terms", "contract", "actuators", "randomisation", "logs", "timing", "tasks"),
        *("randomised_robots", "backends", "evaluation", "identification", "gap", "stress", "gym", "new_task"),
        *("commands", "cli"),
    ),
}
"""From the ground up: a box imports only from those before it."""


@dataclass(frozen=True)
class Arguments:
    """Print how a package is laid out."""

    package: str = "runtime"
    root: Path = ROOT
    """Another checkout, to compare with."""
    quick: bool = False
    """Accepted for the sake of uniformity; it takes a second."""
    json: JsonFile | None = None
    """Write what was found here too."""


@dataclass(frozen=True)
class Structure:
    """What `measure` finds in one package."""

    lines: dict[str, int]
    """Lines of Python by box."""
    arrows: dict[str, list[str]]
    """The boxes that each box imports."""
    upward: list[tuple[str, str, str]]
    """File, importing box and imported box of each import against `ORDER`; empty without an order."""
    circles: list[list[str]]
    types_only: list[tuple[str, str]]
    """Importing and imported box where the import is for type checkers only."""


def measure(package: str, root: Path = ROOT) -> Structure:
    """Read every module of `package` below `root`."""
    lines: dict[str, int] = {}
    arrows: dict[str, set[str]] = {}
    upward = []
    types: set[tuple[str, str]] = set()
    rank = {box: place for place, box in enumerate(ORDER.get(package, ()))}
    for file in sorted((root / package).rglob("*.py")):
        parts = file.relative_to(root / package).with_suffix("").parts
        box = parts[0]
        text = file.read_text()
        lines[box] = lines.get(box, 0) + text.count("\n")
        if box == "__init__":
            continue
        tree = ast.parse(text)
        targets = _imported_boxes(tree, package) - {box}
        types |= {(box, to) for to in _imported_boxes(tree, package, types=True) - {box}}
        arrows.setdefault(box, set()).update(targets)
        upward += [(str(file.relative_to(root)), box, to) for to in sorted(targets) if rank and rank[to] > rank[box]]
    named = {box: sorted(targets) for box, targets in sorted(arrows.items())}
    only = sorted((box, to) for box, to in types if to not in named[box])
    return Structure(lines, named, upward, _circles(named), only)


def _imported_boxes(tree: ast.Module, package: str, *, types: bool = False) -> set[str]:
    names: set[str] = set()
    for node in _executed(tree, types):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    inside = (name.split(".") for name in names if name.startswith(f"{package}."))
    return {parts[1] for parts in inside}


def _executed(node: ast.AST, types: bool) -> Iterator[ast.AST]:
    """The node and all below it; what is for type checkers only where `types` asks for it."""
    yield node
    checking = isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    children = node.orelse if isinstance(node, ast.If) and checking and not types else ast.iter_child_nodes(node)
    for child in children:
        yield from _executed(child, types)


def _circles(arrows: dict[str, list[str]]) -> list[list[str]]:
    """Circles found one after another, each broken at its last arrow before the next is looked for."""
    graph = {box: set(targets) for box, targets in arrows.items()}
    found: list[list[str]] = []
    while True:
        try:
            TopologicalSorter(graph).prepare()
            return found
        except CycleError as error:
            circle = list(error.args[1])
            found.append(circle)
            # graphlib lists predecessors first: each box is imported by the next one.
            graph[circle[1]].discard(circle[0])


def main() -> None:
    """Print the table and write JSON where asked."""
    arguments = tyro.cli(Arguments, description=__doc__)
    found = measure(arguments.package, arguments.root)
    for box, count in sorted(found.lines.items(), key=lambda item: -item[1]):
        print(f"{box:<16} {count:6d} lines   imports {', '.join(found.arrows.get(box, [])) or 'none'}")
    arrows = sum(map(len, found.arrows.values()))
    print(f"\n{len(found.arrows)} boxes, {arrows} arrows, {len(found.upward)} upward, {len(found.circles)} circles")
    for file, _, to in found.upward:
        print(f"upward: {file} imports {to}")
    for circle in found.circles:
        print(f"circle: {' -> '.join(circle)}")
    for box, to in found.types_only:
        print(f"types only: {box} names {to}")
    if arguments.json is not None:
        write_json(arguments.json, asdict(found), indent=2)


if __name__ == "__main__":
    with command_line():
        main()
