"""The progress line of a long run: what a person wants to see while waiting."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_SHOWN = {
    "success_coarse": "coarse {:.0%}",
    "success_fine": "fine {:.0%}",
    "time_at_goal": "at goal {:.0%}",
    "loss": "loss {:.3f}",
    "critic_loss": "loss {:.2f}",
    "categorical_accuracy": "accuracy {:.2f}",
    "agreement": "agreement {:.3f}",
    "steps_per_s": "{:.0f} steps/s",
}


class TrainingProgress:
    """A bar with elapsed and remaining time on a terminal; a plain line now and then elsewhere."""

    def __init__(self, total: int, done: int, *, title: str, quiet: bool = False) -> None:
        self._console = Console(quiet=quiet)
        self._title, self._total = title, total
        self._latest: dict[str, float] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[status]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._progress.add_task(title, total=total, completed=done, status="")

    def update(self, row: dict[str, float]) -> None:
        """One more round is done, with these metrics."""
        self._latest |= row
        status = "  ".join(text.format(self._latest[name]) for name, text in _SHOWN.items() if name in self._latest)
        self._progress.update(self._task, advance=1, status=status)
        if not self._console.is_terminal and "success_coarse" in row:
            self._console.print(f"{self._title} {int(row['round'])}/{self._total}  {status}", soft_wrap=True)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
