"""Checkpoints of a run: atomic, pruned, checked, and complete enough for an exact resume.

    checkpoints/20/learner.npz      networks and optimisers
    checkpoints/20/world.npz        replay and environment; a student loads the learner without them
    checkpoints/20/sha256.json      of both files

A checkpoint whose content is no longer what was written is passed over for the one before it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sim2real.errors import ShoalError, first_line

_DIGESTS = "sha256.json"
Leaves = dict[str, np.ndarray]
"""The arrays of a tree by their path, `actor.params.mean.kernel`."""


class Checkpoints:
    """Checkpoints under `folder`, numbered by round; the newest `keep` stay."""

    def __init__(self, folder: Path, *, keep: int) -> None:
        self.folder, self._keep = folder, keep

    @property
    def rounds(self) -> list[int]:
        """Rounds of all complete checkpoints, the newest first."""
        names = [path.name for path in self.folder.iterdir()] if self.folder.is_dir() else []
        return sorted((int(name) for name in names if name.isdecimal()), reverse=True)

    @property
    def latest(self) -> int | None:
        """Round of the newest complete checkpoint."""
        return next(iter(self.rounds), None)

    def save(self, number: int, *, learner: Any, world: Any) -> None:
        """Write one checkpoint, which appears under its name only when complete; `ShoalError` where that fails.

        Later ones, which a resume found damaged, make way for it, and so do the oldest beyond `keep`.
        """
        half = self.folder / f".{number}.{os.getpid()}.part"
        try:
            half.mkdir(parents=True)
            for name, part in (("learner", learner), ("world", world)):
                _write_part(half / f"{name}.npz", part)
            digests = {path.stem: _sha256(path) for path in sorted(half.glob("*.npz"))}
            (half / _DIGESTS).write_text(json.dumps(digests))
            for later in self.rounds:
                if later >= number:
                    shutil.rmtree(self.folder / str(later))
            half.rename(self.folder / str(number))
        except OSError as error:
            raise ShoalError(f"cannot write {self.folder / str(number)}: {error.strerror or error}.") from error
        finally:
            shutil.rmtree(half, ignore_errors=True)
        for old in self.rounds[self._keep :]:
            shutil.rmtree(self.folder / str(old), ignore_errors=True)

    def restore(self, *, learner: Any, world: Any = None) -> tuple[Any, Any]:
        """The newest intact checkpoint, in the structure of the given trees, or of the tree that a function makes from
        the arrays of the part; without `world` only the learner is read.

        Damaged ones are passed over with a sentence on standard error; `ShoalError` where none is intact, or where the
        newest intact one is of another configuration.
        """
        templates = {"learner": learner} | ({} if world is None else {"world": world})
        damage: list[str] = []
        for number in self.rounds:
            try:
                parts = {name: _read_part(self.folder / str(number), name) for name in templates}
            except _Damaged as error:
                damage.append(f"checkpoint {number} is damaged ({error})")
                continue
            if damage:
                print(f"note: {self.folder}: {'; '.join(damage)}; going on from checkpoint {number}.", file=sys.stderr)
            made = {name: self._fitted(number, parts[name], template) for name, template in templates.items()}
            return made["learner"], made.get("world")
        found = "; ".join(damage) or "no complete checkpoint"
        raise ShoalError(f"{self.folder}: {found} and none before it here; start the run again.")

    def _fitted(self, number: int, leaves: Leaves, template: Any) -> Any:
        """The leaves in the structure of the template; `ShoalError` where they are not those that it asks for."""
        template = template(leaves) if callable(template) else template
        wanted = {_name(path): like for path, like in jax.tree_util.tree_leaves_with_path(template)}
        wrong = [f"{path} is missing" for path in wanted.keys() - leaves.keys()]
        wrong += [f"{path} is not known" for path in leaves.keys() - wanted.keys()]
        wrong += [
            f"{path} has shape {leaves[path].shape} instead of {like.shape}"
            for path, like in wanted.items()
            if path in leaves and leaves[path].shape != like.shape
        ]
        if wrong:
            more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            raise ShoalError(f"{self.folder}: checkpoint {number} does not fit this configuration: {min(wrong)}{more}.")
        values = [np.asarray(leaves[path], like.dtype) for path, like in wanted.items()]
        return jax.tree.unflatten(jax.tree.structure(template), values)


class _Damaged(Exception):
    """What is in a file is not what was written; how that shows."""


def _write_part(path: Path, tree: Any) -> None:
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **_leaves(tree))
        os.fsync(file.fileno())


def _read_part(checkpoint: Path, name: str) -> Leaves:
    path = checkpoint / f"{name}.npz"
    if (checkpoint / name).is_dir() and not path.exists():
        return _read_orbax(checkpoint / name)
    try:
        if f'"{name}": "{_sha256(path)}"' not in (checkpoint / _DIGESTS).read_text(errors="replace"):
            raise _Damaged(f"{path.name} is not what was written")
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except OSError as error:
        raise _Damaged(f"{Path(error.filename or path).name}: {error.strerror or error}") from error


def _read_orbax(folder: Path) -> Leaves:
    """A part as versions before this one wrote it, with Orbax and without a digest."""
    import orbax.checkpoint as ocp

    try:
        return _leaves(ocp.StandardCheckpointer().restore(folder.resolve()))
    except Exception as error:  # Orbax and TensorStore say the same with several errors.
        raise _Damaged(first_line(error)) from error


def actor_in(leaves: Leaves) -> Leaves:
    """The arrays of a learner's actor."""
    return {name: leaf for name, leaf in leaves.items() if name.startswith("actor.")}


def _leaves(tree: Any) -> Leaves:
    return {_name(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def to_host(tree: Any) -> Any:
    """Copy a tree to NumPy leaves."""
    return jax.tree.map(np.asarray, tree)
