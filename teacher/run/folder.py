"""What a run leaves on disk: config, contract, metrics, curves; all written atomically.

runs/pose/config.yaml  contract.json  metrics.jsonl  summary.json  curves.png  tensorboard/  checkpoints/
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ValidationError
from tensorboardX import SummaryWriter

from sim2real.contract import Contract, require_same_interface
from sim2real.errors import ShoalError, problems
from sim2real.files import read_model, write_json, write_text, write_yaml
from sim2real.tasks.task import Task, load_task

C = TypeVar("C", bound=BaseModel)


class RunFolder:
    """Files of one training or distillation run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def holds_run(self) -> bool:
        """Whether a run has begun here."""
        return (self.path / "config.yaml").exists()

    def require_free(self) -> None:
        """Refuse a folder that already holds a run."""
        if self.holds_run:
            raise ShoalError(f"{self.path}: holds a run already; continue it with --resume, or choose another folder.")

    def start(self, config: BaseModel, contract: Contract) -> None:
        """Begin a new run here; refuses a folder that already holds one."""
        self.require_free()
        write_text(self.path / "contract.json", contract.canonical_json)
        self.write_config(config)

    @contextmanager
    def starting(self, config: BaseModel, contract: Contract) -> Iterator[None]:
        """Start like `start`; a block that fails before the first row of metrics leaves nothing of the run behind."""
        with nothing_left_on_failure(self.path, unless=lambda: bool(self.read_metrics())):
            self.start(config, contract)
            yield

    @contextmanager
    def replaced(self) -> Iterator[None]:
        """Set the run in the folder aside for a block that begins a run there; if that fails before the first row of
        metrics it comes back, and otherwise it is gone.
        """
        path = self.path.resolve()
        if not self.holds_run:
            yield
            return
        aside = path.with_name(f".{path.name}.replaced.{os.getpid()}")
        path.rename(aside)
        try:
            yield
        finally:
            if self.read_metrics():
                shutil.rmtree(aside)
            else:
                aside.rename(path)

    def write_config(self, config: BaseModel) -> None:
        """`config.yaml`."""
        write_yaml(self.path / "config.yaml", config.model_dump(mode="json"))

    def load(self, config_type: type[C]) -> tuple[C, Contract]:
        """Config and contract of an existing run."""
        path = self.path / "config.yaml"
        if not path.is_file():
            raise ShoalError(f"{self.path}: no run here (config.yaml is missing).")
        return read_model(config_type, path, what="the run's config"), self.contract()

    def contract(self) -> Contract:
        """The contract that the run was started with."""
        path = self.path / "contract.json"
        try:
            return Contract.model_validate_json(path.read_bytes())
        except OSError as error:
            raise ShoalError(f"{path}: the run's contract cannot be read: {error.strerror or error}.") from error
        except ValidationError as error:
            raise ShoalError(f"{path}: the run's contract is damaged: {problems(error)}.") from error

    def task(self, name: str) -> Task:
        """The task that the run's files name; `ShoalError` says where they do if it has moved."""
        try:
            return load_task(name)
        except ShoalError as error:
            raise ShoalError(f"{self.path}: {error} If it has moved, correct `task:` in the run's files.") from error

    def require_contract(self, contract: Contract) -> None:
        """Refuse to continue when the task no longer is what this run was started with."""
        require_same_interface(
            self.contract(), contract, left_name=f"run {self.path.name}", right_name="the task today"
        )

    @property
    def summary(self) -> Path:
        """The run's result; only a finished run has one."""
        return self.path / "summary.json"

    def write_summary(self, summary: dict[str, Any]) -> None:
        """`summary.json`."""
        write_json(self.summary, summary)

    def read_summary(self) -> dict[str, Any]:
        """What `write_summary` wrote; `ShoalError` where it is missing or damaged."""
        try:
            return dict(json.loads(self.summary.read_text()))
        except (OSError, ValueError) as error:
            raise ShoalError(f"{self.summary}: cannot be read: {error}.") from error

    def read_metrics(self) -> list[dict[str, float]]:
        """All complete rows of `metrics.jsonl`; a killed process may have left half a row at the end."""
        path = self.path / "metrics.jsonl"
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        whole = [line for line in lines if line.endswith(b"\n")]
        try:
            return [json.loads(line) for line in whole]
        except ValueError as error:
            raise ShoalError(f"{path}: damaged ({error}); remove the line.") from error


@contextmanager
def nothing_left_on_failure(folder: Path, *, unless: Callable[[], bool]) -> Iterator[None]:
    """Remove what a block that fails put into `folder`, and the folders that it made, unless there is something in it
    that is worth keeping.
    """
    before = set(folder.iterdir()) if folder.is_dir() else set()
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    except BaseException:
        if not unless():
            for path in set(folder.iterdir()) - before if folder.is_dir() else ():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            with suppress(OSError):  # Whatever others have put there meanwhile stays.
                for path in made:
                    path.rmdir()
        raise


class MetricsLog:
    """`metrics.jsonl` and TensorBoard; on a resume, rows after the checkpoint are dropped and written again."""

    def __init__(self, folder: RunFolder, *, resume_round: int | None) -> None:
        self._path = folder.path / "metrics.jsonl"
        rows = [] if resume_round is None else [row for row in folder.read_metrics() if row["round"] <= resume_round]
        self.elapsed_s = rows[-1].get("elapsed_s", 0.0) if rows else 0.0
        """What the rounds up to here took, in all the processes that ran them."""
        write_text(self._path, "".join(json.dumps(row) + "\n" for row in rows))
        self._writer = SummaryWriter(str(folder.path / "tensorboard"), purge_step=resume_round)

    def append(self, row: dict[str, float]) -> None:
        """One row; `row["round"]` and `row["updates"]` must be in it. `ShoalError` where it cannot be written."""
        try:
            with self._path.open("a") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise ShoalError(f"cannot write {self._path}: {error.strerror or error}.") from error
        for name, value in row.items():
            self._writer.add_scalar(name, value, int(row["updates"]))

    def close(self) -> None:
        """Flush TensorBoard."""
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()


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


def status_of(row: dict[str, float]) -> str:
    """What a person wants to see of a round's metrics while waiting."""
    return "  ".join(text.format(row[name]) for name, text in _SHOWN.items() if name in row)
