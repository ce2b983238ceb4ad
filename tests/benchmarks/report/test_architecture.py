"""The picture of the packages shows rooms that exist."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.report.architecture import PACKAGES, svg
from benchmarks.structure import measure

SHIPPED = Path(__file__).parents[3] / "docs" / "images" / "architecture.svg"


def labels(text: str) -> list[str]:
    return re.findall(r">([^<>]+)</text>", text)


def test_the_picture_in_the_documentation_names_packages_and_rooms_of_today() -> None:
    rooms = {box.replace("_", " ") for package in PACKAGES for box in measure(package).lines}
    assert [label for label in labels(SHIPPED.read_text()) if label.endswith("/")] == [f"{name}/" for name in PACKAGES]
    named = {label for label in labels(SHIPPED.read_text()) if not label.endswith("/") and "imports" not in label}
    assert len(named) > 30
    assert named <= rooms


def test_what_each_package_imports_is_what_it_imports_today() -> None:
    captions = [label for label in labels(SHIPPED.read_text()) if "imports" in label]
    assert captions == [label for label in labels(svg()) if "imports" in label]
