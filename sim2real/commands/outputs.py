"""Where a command writes what it found, refused before it begins and not at its end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from sim2real.files import require_writable


def _json_file(given: list[str]) -> Path:
    path = Path(given[0])
    require_writable(path, what="--json")
    return path


OutputPath = Annotated[Path, tyro.conf.arg(aliases=("--out",))]
"""Type of every `--output` that was once called `--out`."""
JsonFile = Annotated[
    Path,
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        instance_from_str=_json_file,
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda path: [str(path)],
    ),
]
"""Type of every `--json`: a path to which the command can write; `ShoalError` otherwise."""
