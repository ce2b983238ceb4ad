"""One flat vector of named parts: which entries belong to which name.

layout = Layout.of({"joint_position": 7, "gripper": 3})
layout.size, layout.slices["gripper"]      # 10, slice(7, 10)
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Layout:
    """Names and sizes, in order."""

    sizes: Mapping[str, int]
    slices: Mapping[str, slice]
    size: int
    """Entries of the whole vector."""

    @classmethod
    def of(cls, sizes: Mapping[str, int]) -> Self:
        """Parts one behind the other."""
        ends = list(itertools.accumulate(sizes.values(), initial=0))
        slices = {name: slice(*pair) for name, pair in zip(sizes, itertools.pairwise(ends), strict=True)}
        return cls(dict(sizes), slices, ends[-1])

    def split(self, vector: Any) -> dict[str, Any]:
        """Views `[..., size]` by name on a vector `[..., L]`."""
        return {name: vector[..., part] for name, part in self.slices.items()}

    def runs(self, names: Sequence[str]) -> list[slice]:
        """The entries of some parts in this order, neighbours as one slice."""
        found: list[slice] = []
        for name in names:
            part = self.slices[name]
            if found and found[-1].stop == part.start:
                part = slice(found.pop().start, part.stop)
            found.append(part)
        return found
