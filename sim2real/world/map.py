"""A map: walls, starts and goals of a maze as text, one character a cell.

    map:
      cell_m: 4.0
      layout: |
        #####
        #S.G#
        #####

`#` is a wall, `S` a cell where episodes start, `G` one where goals lie; any other letter or `.` is free. A line runs
along y, from one line to the next x grows. The first `S` is the origin of the world, so that a robot's odometry begins
there.
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from sim2real.frozen import Frozen, Positive

WALL, START, GOAL = "#", "S", "G"
_LONGEST = 200
"""Lines of a layout, and characters of a line."""


class Wall(NamedTuple):
    """A box that stands on the ground."""

    middle: tuple[float, float, float]
    """m in the world."""
    half_size: tuple[float, float, float]


class Map(Frozen):
    """A maze that the task's robot moves in."""

    cell_m: Annotated[float, Field(ge=0.01, le=1000)]
    """Edge of a cell."""
    wall_height_m: Positive = 1.0
    layout: Annotated[tuple[str, ...], Field(min_length=1, max_length=_LONGEST)]
    """Lines of equal length."""
    evaluation: tuple[str, ...] | None = None
    """The same walls with the starts and goals that policies are judged by; as in training where not given."""

    @field_validator("layout", "evaluation", mode="before")
    @classmethod
    def _lines(cls, value: Any) -> Any:
        return tuple(line for line in value.splitlines() if line.strip()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for name, lines in (("layout", self.layout), ("evaluation", self.evaluation or self.layout)):
            uneven = [i for i, line in enumerate(lines, 1) if len(line) != len(lines[0])]
            if uneven or len(lines[0]) > _LONGEST:
                raise ValueError(
                    f"{name}: lines must all be as long as the first, {len(lines[0])} characters, and no longer than "
                    f"{_LONGEST}; look at line {', '.join(map(str, uneven)) or 1}"
                )
            known = {WALL, START, GOAL, "."}
            if strange := sorted(set("".join(lines)) - known):
                raise ValueError(
                    f"{name}: {', '.join(map(repr, strange))} means nothing; use {' '.join(sorted(known))}"
                )
            for letter, what in ((START, "start"), (GOAL, "goal")):
                if letter not in "".join(lines):
                    raise ValueError(f"{name}: no {what} ({letter}) anywhere")
            if cut_off := _cut_off(lines):
                row, column = cut_off
                raise ValueError(f"{name}: no way leads from an S to the G in line {row + 1}, character {column + 1}")
        if self.evaluation is not None:
            if self._walls_of(self.layout) != self._walls_of(self.evaluation):
                raise ValueError("evaluation: its walls are not those of layout; only S and G may differ")
            if _first_start(self.layout) != _first_start(self.evaluation):
                raise ValueError("evaluation: its first S, the world's origin, must be where that of layout is")
        return self

    @staticmethod
    def _walls_of(lines: tuple[str, ...]) -> list[str]:
        return ["".join(WALL if letter == WALL else "." for letter in line) for line in lines]

    @property
    def for_evaluation(self) -> Map:
        """The map with the evaluation's starts and goals."""
        return self if self.evaluation is None else self.model_copy(update={"layout": self.evaluation})

    @property
    def _origin(self) -> tuple[int, int]:
        return _first_start(self.layout)

    def cells(self, letter: str) -> np.ndarray:
        """Middles of all cells with this letter, `[n, 2]` m, in the order of the text."""
        found = [
            (row, column) for row, line in enumerate(self.layout) for column, at in enumerate(line) if at == letter
        ]
        return self.cell_m * (np.array(found, np.float64).reshape(-1, 2) - self._origin)

    @property
    def free(self) -> np.ndarray:
        """Middles of all cells without a wall, `[n, 2]` m."""
        return np.concatenate([self.cells(letter) for letter in (START, GOAL, ".")])

    def is_free(self, place: np.ndarray) -> np.ndarray:
        """Whether points `[..., 2]` m lie in a cell without a wall, `[...]` bool."""
        cell = np.round(np.asarray(place, np.float64) / self.cell_m).astype(int) + self._origin
        rows, columns = len(self.layout), len(self.layout[0])
        inside = ((cell >= 0) & (cell < (rows, columns))).all(axis=-1)
        wall = np.array([[letter == WALL for letter in line] for line in self.layout])
        row, column = np.clip(cell[..., 0], 0, rows - 1), np.clip(cell[..., 1], 0, columns - 1)
        return np.asarray(inside & ~wall[row, column])

    def walls(self) -> list[Wall]:
        """Few boxes that fill all walls: runs along y, of which equal ones in successive lines are one box."""
        boxes: list[list[int]] = []
        for row, line in enumerate(self._walls_of(self.layout)):
            column = 0
            while (first := line.find(WALL, column)) >= 0:
                column = next((i for i in range(first, len(line)) if line[i] != WALL), len(line))
                above = next((box for box in boxes if box[1:] == [row, first, column]), None)
                if above is None:
                    boxes.append([row, row + 1, first, column])
                else:
                    above[1] = row + 1
        return [self._wall(*box) for box in boxes]

    def _wall(self, row: int, row_end: int, column: int, column_end: int) -> Wall:
        x0, y0 = self._origin
        middle = ((row + row_end - 1) / 2 - x0, (column + column_end - 1) / 2 - y0)
        return Wall(
            (self.cell_m * middle[0], self.cell_m * middle[1], self.wall_height_m / 2),
            (self.cell_m * (row_end - row) / 2, self.cell_m * (column_end - column) / 2, self.wall_height_m / 2),
        )


def _cut_off(lines: tuple[str, ...]) -> tuple[int, int] | None:
    """Row and column of a goal that no start leads to, step by step over free cells; None where there is none."""
    cells = {(row, column): at for row, line in enumerate(lines) for column, at in enumerate(line) if at != WALL}
    reached = {cell for cell, at in cells.items() if at == START}
    edge = list(reached)
    while edge:
        row, column = edge.pop()
        beside = {(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)} & cells.keys() - reached
        reached |= beside
        edge += beside
    return next((cell for cell, at in cells.items() if at == GOAL and cell not in reached), None)


def _first_start(lines: tuple[str, ...]) -> tuple[int, int]:
    return next((row, line.index(START)) for row, line in enumerate(lines) if START in line)
