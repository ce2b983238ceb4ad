"""`train-teacher`: train a contrastive goal-conditioned teacher; `train-teacher study`: a grid of them."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from sim2real.errors import ShoalError
from sim2real.files import read_model
from teacher.config import TeacherConfig


@dataclass(frozen=True)
class Arguments:
    """Train a teacher; it learns from its own trials, with no reward and no demonstrations."""

    run: Path = Path("runs/teacher")
    """Folder for checkpoints, metrics and curves."""
    resume: Path | None = None
    """Continue the run in this folder; its own config applies."""
    distributed: bool = False
    """Be one process of a run across hosts, started once on each (docs/distributed.md)."""
    config: tyro.conf.OmitArgPrefixes[TeacherConfig] = field(default_factory=TeacherConfig)


def main() -> None:
    """Console script."""
    try:
        defaults, given = _defaults_from_file(), _without_config_file()
        if given[:1] == ["study"]:
            from teacher.study import cli as study

            study.main(given[1:], defaults)
        else:
            _train(tyro.cli(Arguments, default=Arguments(config=defaults), args=given))
    except ShoalError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def _train(arguments: Arguments) -> None:
    from teacher.devices import start_distributed
    from teacher.run_folder import RunFolder
    from teacher.train import Trainer

    if arguments.distributed:
        start_distributed()
    if arguments.resume is not None:
        folder = RunFolder(arguments.resume)
        config, _ = folder.load(TeacherConfig)
        trainer = Trainer(config, folder, resume=True)
    else:
        folder = RunFolder(arguments.run)
        trainer = Trainer(arguments.config, folder)
    final = trainer.train()
    if final is not None and trainer.devices.is_main:
        print(
            f"success coarse {final.success_coarse:.1%}, fine {final.success_fine:.1%} on {final.episodes} held-out "
            f"goals; run in {folder.path}"
        )


def _config_file() -> Path | None:
    if "--config-file" not in sys.argv:
        return None
    index = sys.argv.index("--config-file")
    if index + 1 >= len(sys.argv):
        raise ShoalError("--config-file: give the path of a YAML file.")
    return Path(sys.argv[index + 1])


def _defaults_from_file() -> TeacherConfig:
    """Settings of `--config-file FILE`; other flags then override them."""
    path = _config_file()
    if path is None:
        return TeacherConfig()
    return read_model(TeacherConfig, path, what="--config-file")


def _without_config_file() -> list[str]:
    arguments = sys.argv[1:]
    if "--config-file" in arguments:
        index = arguments.index("--config-file")
        del arguments[index : index + 2]
    return arguments
