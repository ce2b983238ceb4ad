"""How the house is built: rooms that stand on each other, folders and functions that a reader can take in."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.structure import ORDER, measure

ROOT = Path(__file__).parents[1]
PACKAGES = ("sim2real", "teacher", "student", "export", "runtime", "shoal", "benchmarks")
A_DOZEN, A_SCREEN = 12, 50
TYPES_ONLY = {"sim2real": [("terms", "contract")], "runtime": []}
"""A term is asked about the contract that holds it, so its methods name that type."""


def modules() -> Iterator[Path]:
    for package in (*PACKAGES, "tests", "examples"):
        found = sorted((ROOT / package).rglob("*.py"))
        assert found, package
        yield from found


@pytest.mark.parametrize("package", ORDER)
def test_rooms_inside_a_package_stand_on_each_other(package: str) -> None:
    found = measure(package)
    assert {*found.arrows} == {*ORDER[package]}
    assert found.upward == []
    assert found.types_only == TYPES_ONLY[package]


@pytest.mark.parametrize("package", PACKAGES)
def test_no_rooms_need_each_other(package: str) -> None:
    assert measure(package).circles == []


def test_an_import_against_the_order_is_found(tmp_path: Path) -> None:
    for name, text in {
        "goals": "import runtime.safety.rules",
        "safety": "def f():\n    from runtime import goals",
    }.items():
        (tmp_path / "runtime" / name).mkdir(parents=True)
        (tmp_path / "runtime" / name / "rules.py").write_text(text)
    found = measure("runtime", tmp_path)
    assert found.upward == [("runtime/goals/rules.py", "goals", "safety")]
    assert [{*circle} for circle in found.circles] == [{"goals", "safety"}]


def test_an_import_for_type_checkers_alone_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "runtime" / "goals").mkdir(parents=True)
    module = tmp_path / "runtime" / "goals" / "a.py"
    module.write_text("if TYPE_CHECKING:\n    from runtime.safety import b\nelse:\n    import runtime.robot\n")
    found = measure("runtime", tmp_path)
    assert (found.upward, found.arrows, found.types_only) == ([], {"goals": ["robot"]}, [("goals", "safety")])


def test_a_folder_has_a_dozen_modules_at_most() -> None:
    sizes = Counter(str(module.parent.relative_to(ROOT)) for module in modules())
    assert {folder for folder, count in sizes.items() if count > A_DOZEN} == set()


def test_a_function_fits_a_screen() -> None:
    long = {
        (str(module.relative_to(ROOT)), node.name)
        for module in modules()
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None
        if node.end_lineno - node.lineno >= A_SCREEN
    }
    assert long == set()
