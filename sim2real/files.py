"""Text files: written so that a reader never finds half of one, read so that what is wrong with one is a sentence."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from sim2real.errors import ShoalError, first_problem

Model = TypeVar("Model", bound=BaseModel)


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` in one step; `ShoalError` where that is not possible."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text)
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        raise ShoalError(f"cannot write {path}: {error.strerror or error}.") from error


def read_yaml(path: Path, *, what: str) -> Any:
    """Plain data from a YAML file, None from an empty one; `ShoalError`, beginning with `what`, where it is none."""
    import yaml  # here, because its import takes longer than everything else that a client of the runtime needs

    try:
        return yaml.safe_load(path.read_text())
    except OSError as error:
        raise ShoalError(f"{what}: cannot read {path}: {error.strerror or error}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ShoalError(f"{what}: {path} is not valid YAML: {' '.join(str(error).split())}.") from error


def read_model(kind: type[Model], path: Path, *, what: str, may_be_empty: bool = False) -> Model:
    """A YAML file as a `kind`, which with `may_be_empty` may rely on its defaults; errors as those of `read_yaml`."""
    data = read_yaml(path, what=what)
    try:
        return kind.model_validate({} if data is None and may_be_empty else data)
    except ValidationError as error:
        raise ShoalError(f"{what}: {path}: {first_problem(error)}.") from error
