"""What a run leaves on disk: config, contract, metrics, curves; all written atomically.

runs/pose/config.yaml  contract.json  metrics.jsonl  summary.json  curves.png  tensorboard/  checkpoints/
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from tensorboardX import SummaryWriter

from sim2real.contract import Contract, require_same_interface
from sim2real.errors import ShoalError, problems
from sim2real.files import read_model, write_text, write_yaml

C = TypeVar("C", bound=BaseModel)


class RunFolder:
    """Files of one training or distillation run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    def start(self, config: BaseModel, contract: Contract) -> None:
        """Begin a new run here; refuses a folder that already holds one."""
        if (self.path / "config.yaml").exists():
            raise ShoalError(f"{self.path}: holds a run already; continue it with --resume, or choose another folder.")
        write_text(self.path / "contract.json", contract.canonical_json)
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
            return Contract.model_validate_json(path.read_text())
        except FileNotFoundError as error:
            raise ShoalError(f"{path}: the run's contract is missing.") from error
        except ValidationError as error:
            raise ShoalError(f"{path}: the run's contract is damaged: {problems(error)}.") from error

    def require_contract(self, contract: Contract) -> None:
        """Refuse to continue when the task no longer is what this run was started with."""
        require_same_interface(
            self.contract(), contract, left_name=f"run {self.path.name}", right_name="the task today"
        )

    def write_summary(self, summary: dict[str, Any]) -> None:
        """`summary.json`, the run's result."""
        write_text(self.path / "summary.json", json.dumps(summary, indent=2) + "\n")

    def read_metrics(self) -> list[dict[str, float]]:
        """All complete rows of `metrics.jsonl`; a killed process may have left half a row at the end."""
        path = self.path / "metrics.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]


class MetricsLog:
    """`metrics.jsonl` and TensorBoard; on a resume, rows after the checkpoint are dropped and written again."""

    def __init__(self, folder: RunFolder, *, resume_round: int | None) -> None:
        self._path = folder.path / "metrics.jsonl"
        rows = [] if resume_round is None else [row for row in folder.read_metrics() if row["round"] <= resume_round]
        write_text(self._path, "".join(json.dumps(row) + "\n" for row in rows))
        self._writer = SummaryWriter(str(folder.path / "tensorboard"), purge_step=resume_round)

    def append(self, row: dict[str, float]) -> None:
        """One row; `row["round"]` and `row["updates"]` must be in it."""
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        for name, value in row.items():
            self._writer.add_scalar(name, value, int(row["updates"]))

    def close(self) -> None:
        """Flush TensorBoard."""
        self._writer.close()
