"""Files that people and programs read: written so that nobody ever finds half of one, read so that what is wrong with
one is a sentence.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from sim2real.errors import ShoalError, printable, problems

Model = TypeVar("Model", bound=BaseModel)
_LONGEST = 1000


def write_file(path: Path, fill: Callable[[Path], None]) -> None:
    """Replace `path` in one step by what `fill` writes to the path that it is given; `ShoalError` where that fails.

    A link keeps its place and what it points to is replaced. What is no ordinary file (`/dev/stdout`, a pipe) is
    written to and not replaced.
    """
    special = True
    try:
        special = path.exists() and not path.is_file()
        target = path if special else Path(os.path.realpath(path))
        # The name keeps its end, from which libraries tell the format.
        beside = target if special else target.with_name(f".{os.getpid()}.{target.name}")
        target.parent.mkdir(parents=True, exist_ok=True)
        fill(beside)
        if not special:
            _to_disk(beside)
            beside.replace(target)
    except OSError as error:
        raise ShoalError(f"cannot write {path}: {error.strerror or error}.") from error
    finally:
        if not special:
            with suppress(OSError):
                beside.unlink()


def require_writable(path: Path, *, what: str) -> None:
    """Raise `ShoalError`, beginning with `what`, unless `write_file` could write there, as far as can be told without
    touching anything.
    """
    try:
        if path.exists() and not path.is_file():
            _require(os.W_OK, path, folder=False)
            return
        target = Path(os.path.realpath(path))
        with suppress(FileNotFoundError):
            target.with_name(f".{os.getpid()}.{target.name}").lstat()
        folder = next(parent for parent in target.parents if parent.exists())
        _require(os.W_OK | os.X_OK, folder, folder=True)
    except OSError as error:
        raise ShoalError(f"{what}: cannot write {path}: {error.strerror or error}; choose another path.") from error


def _require(mode: int, path: Path, *, folder: bool) -> None:
    if path.is_dir() is not folder:
        number = errno.ENOTDIR if folder else errno.EISDIR
        raise OSError(number, os.strerror(number))
    if not os.access(path, mode):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _to_disk(path: Path) -> None:
    """Wait until the content is on the disk, or a power cut after the renaming could leave an empty file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, content: bytes) -> None:
    """`write_file` with this content."""
    write_file(path, lambda beside: _write(beside, content))


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)


def write_text(path: Path, text: str) -> None:
    """`write_file` with this text, in UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: Path, data: Any, *, indent: int | None = 2) -> None:
    """`write_file` with this data as JSON."""
    write_text(path, json.dumps(data, indent=indent) + "\n")


def write_yaml(path: Path, data: Any) -> None:
    """`write_file` with this data as YAML that `read_yaml` reads back."""
    from sim2real import strict_yaml

    write_text(path, strict_yaml.dump(data))


def read_yaml(path: Path, *, what: str) -> Any:
    """Plain data from a YAML file as `strict_yaml` reads it, None from an empty one; `ShoalError` beginning with
    `what` where it is none.
    """
    from sim2real import strict_yaml  # here: it takes longer than all else that a client of the runtime imports

    try:
        return strict_yaml.load(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise ShoalError(f"{what}: cannot read {path}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise ShoalError(f"{what}: {path} is not valid YAML: byte {error.start + 1} is not UTF-8.") from error
    except strict_yaml.YamlError as error:
        raise ShoalError(f"{what}: {path} {printable(str(error), most=_LONGEST)}.") from error


def read_model(kind: type[Model], path: Path, *, what: str, may_be_empty: bool = False) -> Model:
    """A YAML file as a `kind`, which with `may_be_empty` may rely on its defaults; errors as those of `read_yaml`."""
    data = read_yaml(path, what=what)
    try:
        return kind.model_validate({} if data is None and may_be_empty else data)
    except ValidationError as error:
        raise ShoalError(f"{what}: {path}: {problems(error)}.") from error
