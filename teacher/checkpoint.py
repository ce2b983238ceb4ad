"""Checkpoints of a teacher run: atomic, pruned, and complete enough for an exact resume.

`learner` (networks, optimisers) and `world` (replay, environment) are separate items, so that a student
loads the first without the second.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from sim2real.errors import ShoalError, first_line


class Checkpoints:
    """Checkpoints under `folder`, numbered by round; the newest `keep` stay."""

    def __init__(self, folder: Path, *, keep: int) -> None:
        self._manager = ocp.CheckpointManager(
            folder.resolve(),
            options=ocp.CheckpointManagerOptions(max_to_keep=keep, enable_async_checkpointing=False),
        )

    @property
    def latest(self) -> int | None:
        """Round of the newest complete checkpoint."""
        step = self._manager.latest_step()
        return None if step is None else int(step)

    def save(self, number: int, *, learner: Any, world: Any) -> None:
        """Write one checkpoint; it appears under its final name only when complete."""
        self._manager.save(
            number, args=ocp.args.Composite(learner=ocp.args.StandardSave(learner), world=ocp.args.StandardSave(world))
        )
        self._manager.wait_until_finished()

    def restore(self, *, learner: Any, world: Any = None) -> tuple[Any, Any]:
        """The newest checkpoint, in the structure of the given trees; without `world` only the learner is read."""
        if self.latest is None:
            raise ShoalError(f"{self._manager.directory}: no complete checkpoint here; start the run again.")
        items = {"learner": ocp.args.StandardRestore(learner)}
        if world is not None:
            items["world"] = ocp.args.StandardRestore(world)
        try:
            restored = self._manager.restore(self.latest, args=ocp.args.Composite(**items))
        except (ValueError, KeyError, FileNotFoundError) as error:
            raise ShoalError(
                f"{self._manager.directory}: checkpoint {self.latest} does not fit this configuration: "
                f"{first_line(error)}"
            ) from error
        self._require_shapes(restored["learner"], learner)
        if world is None:
            return restored["learner"], None
        self._require_shapes(restored["world"], world)
        return restored["learner"], restored["world"]

    def _require_shapes(self, restored: Any, template: Any) -> None:
        """Orbax restores NumPy arrays in the shape that they were saved in, whatever the template says."""
        pairs = zip(jax.tree_util.tree_leaves_with_path(restored), jax.tree.leaves(template), strict=True)
        for (path, leaf), like in pairs:
            if leaf.shape != like.shape:
                raise ShoalError(
                    f"{self._manager.directory}: checkpoint {self.latest} does not fit this configuration: "
                    f"{jax.tree_util.keystr(path)} has shape {leaf.shape} instead of {like.shape}"
                )


def to_host(tree: Any) -> Any:
    """The same tree with NumPy leaves."""
    return jax.tree.map(np.asarray, tree)
