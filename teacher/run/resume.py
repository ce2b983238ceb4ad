"""With which settings an interrupted run goes on: its own. Only its length may grow."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel

from sim2real.errors import ShoalError

C = TypeVar("C", bound=BaseModel)


class Difference(NamedTuple):
    """A setting that two configurations do not share."""

    name: str
    """Dotted, `learner.batch_size`."""
    there: Any
    here: Any

    @property
    def flag(self) -> str:
        """The option as it is typed."""
        return "--" + self.name.rpartition(".")[2].replace("_", "-")


def differences(there: BaseModel, here: BaseModel) -> list[Difference]:
    """All settings that differ, in the order of the fields; tuples and lists count as one setting."""
    left, right = _flat(there.model_dump()), _flat(here.model_dump())
    return [Difference(name, left[name], right[name]) for name in left if left[name] != right[name]]


def _flat(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in data.items():
        out |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return out


def continued(there: C, here: C, *, run: Path, length: str, others: Iterable[str] = ()) -> C:
    """`here`, the settings asked for, where a run with settings `there` may go on with them; `ShoalError` otherwise.

    `length` names the setting that may grow. A file of the task that has moved may be named anew, because whether it is
    the same task is what the contract says. `others` are sentences' parts about what else contradicts the run.
    """
    wrong = list(others)
    for found in differences(there, here):
        if found.name == length and found.here < found.there:
            wrong.append(f"{found.flag} {found.here} is less than its {found.there}")
        elif found.name not in (length, "task"):
            wrong.append(f"{found.flag} {found.here} contradicts its {found.there}")
    if wrong:
        grows = "--" + length.replace("_", "-")
        raise ShoalError(
            f"{run}: a resumed run keeps its settings, of which only {grows} may grow: {'; '.join(wrong)}; leave these "
            "out, or start another run."
        )
    return here
