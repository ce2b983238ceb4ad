"""Number fields for goals that are no pose of one thing: joints, several things together, a package's own."""

from __future__ import annotations

import math
from typing import Any

from runtime.goals.resolve import middle_goal
from sim2real.contract import Contract

_STEPS = 200
"""Of a slider between its bounds."""


class ValueFields:
    """One field for each number of the contract's goal, a slider where it has bounds; the middle at first."""

    def __init__(self, gui: Any, contract: Contract) -> None:
        self._fields: dict[str, list[Any]] = {}
        layout, middle = contract.goal.layout(contract), middle_goal(contract, "middle").request
        low, high = contract.goal.bounds(contract)
        for part, reading in zip(contract.goal.parts(), contract.goal.readings(contract), strict=True):
            where, fields = layout.slices[part.input], []
            rows = zip(reading.entries(contract), reading.units, low[where], high[where], middle[where], strict=True)
            for entry, unit, least, most, value in rows:
                label = f"{entry or part.input}, {unit}"
                if math.isfinite(least) and math.isfinite(most):
                    step = (most - least) / _STEPS
                    field = gui.add_slider(label, float(least), float(most), float(step), float(value))
                else:
                    field = gui.add_number(label, float(value))
                fields.append(field)
            self._fields[part.input] = fields

    @property
    def values(self) -> dict[str, tuple[float, ...]]:
        """What they say, by the names of the graph's inputs."""
        return {name: tuple(float(field.value) for field in fields) for name, fields in self._fields.items()}
