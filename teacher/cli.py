"""`train-teacher`: train a contrastive goal-conditioned teacher; `train-teacher study`: a grid of them."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tyro

import sim2real.commands  # noqa: F401 - first, so that MuJoCo is imported without OpenGL
from sim2real.backends.compile_cache import keep_compiled_programs
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line, prepare_process
from sim2real.errors import ShoalError
from sim2real.files import read_model, write_json
from sim2real.progress import Progress
from teacher.config import TeacherConfig
from teacher.run.folder import RunFolder
from teacher.run.resume import continued


@dataclass(frozen=True)
class Arguments:
    """Train a teacher; it learns from its own trials, with no reward and no demonstrations."""

    run: Path = Path("runs/teacher")
    """Folder for checkpoints, metrics and curves."""
    resume: Path | None = None
    """Continue the run in this folder with its own settings; more `--updates` make it longer."""
    distributed: bool = False
    """Be one process of a run across hosts, started once on each (docs/distributed.md)."""
    quiet: bool = False
    """No progress, only the result."""
    json: JsonFile | None = None
    """Write the numbers of the result here, too."""
    config: tyro.conf.OmitArgPrefixes[TeacherConfig] = field(default_factory=TeacherConfig)


def main() -> None:
    """Console script."""
    prepare_process()
    with command_line():
        file, given = _config_file(sys.argv[1:])
        if given[:1] == ["study"]:
            from teacher.study import cli as study

            keep_compiled_programs()
            study.main(given[1:], _over(TeacherConfig(), file))
            return
        arguments = _parsed(given, _over(TeacherConfig(), file))
        if arguments.resume is None:
            _train(arguments, RunFolder(arguments.run))
        else:
            folder = RunFolder(arguments.resume)
            there, _ = folder.load(TeacherConfig)
            # Parsed again over the run's own settings, so that what differs from them is what was asked for.
            asked = _parsed(given, _over(there, file))
            elsewhere = arguments.run not in (Arguments.run, arguments.resume)
            others = [f"--run {arguments.run} is another folder"] if elsewhere else []
            continued(there, asked.config, run=folder.path, length="updates", others=others)
            _train(asked, folder)


def _parsed(given: list[str], defaults: TeacherConfig) -> Arguments:
    named = {argument.partition("=")[0].replace("_", "-") for argument in given}
    parts = sorted(named & {"--actor-depth", "--critic-depth"})
    if parts and ("--depth" in named or defaults.network.depth == "auto"):
        raise ShoalError(f"--depth says how deep actor and critic are; leave it out, or {' and '.join(parts)}.")
    return tyro.cli(Arguments, default=Arguments(config=defaults), args=given)


def _train(arguments: Arguments, folder: RunFolder) -> None:
    import jax

    from teacher.devices import start_distributed
    from teacher.growth.stages import Stage
    from teacher.train import Trainer

    keep_compiled_programs()
    if arguments.distributed:
        start_distributed()
    config, resume = arguments.config, arguments.resume is not None
    quiet = arguments.quiet or jax.process_index() != 0
    with Progress(f"teacher {Path(config.task).stem}", quiet=quiet) as progress:
        final = Trainer(config, folder, resume=resume, progress=progress).train()
    if final is not None and jax.process_index() == 0:
        print(
            f"success coarse {final.success_coarse:.1%}, fine {final.success_fine:.1%} on {final.episodes} held-out "
            f"goals; run in {folder.path}"
        )
        summary = folder.read_summary()
        for stage in summary.get("stages", []):
            print(Stage(**stage))
        if arguments.json is not None:
            write_json(arguments.json, summary, indent=1)


def _config_file(arguments: list[str]) -> tuple[Path | None, list[str]]:
    """The file of `--config-file FILE` or `--config-file=FILE`, and the other arguments."""
    file, others, left = None, [], iter(arguments)
    for argument in left:
        name, has_value, value = argument.partition("=")
        if name != "--config-file":
            others.append(argument)
            continue
        given = value if has_value else next(left, "")
        if file is not None or not given or given.startswith("--"):
            raise ShoalError("--config-file: give the path of one YAML file.")
        file = Path(given)
    return file, others


def _over(settings: TeacherConfig, file: Path | None) -> TeacherConfig:
    """`settings` with those of a file in their place; flags then override both."""
    if file is None:
        return settings
    given = read_model(TeacherConfig, file, what="--config-file").model_dump(exclude_unset=True)
    return TeacherConfig.model_validate(_merged(settings.model_dump(), given))


def _merged(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    both = {name: _merged(left[name], right[name]) for name, value in right.items() if isinstance(value, dict)}
    return left | right | both


if __name__ == "__main__":
    main()
