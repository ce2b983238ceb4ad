"""`distill`: make a shallow student from a deep teacher, and export it; `distill sweep`: students of many sizes."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import tyro

import sim2real.commands  # noqa: F401 - first, so that MuJoCo is imported without OpenGL
from sim2real.backends.compile_cache import keep_compiled_programs
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line, prepare_process
from sim2real.errors import ShoalError
from sim2real.files import write_json
from sim2real.progress import Progress
from student.config import DistillConfig
from teacher.run.folder import RunFolder
from teacher.run.resume import continued


@dataclass(frozen=True)
class Arguments:
    """Distil a teacher into a shallow student, then write and certify its ONNX file."""

    teacher: Path | None = None
    """Folder of the teacher's run; with `--resume`, where it is now if it has moved."""
    run: Path = Path("runs/student")
    """Folder for the student."""
    output: Path | None = None
    """The ONNX file; `student.onnx` in the run's folder by default."""
    overwrite: bool = False
    """Replace an earlier run in the same folder."""
    resume: bool = False
    """Continue the run in `--run` where it was interrupted, with its own settings and teacher; more `--rounds` make it
    longer."""
    compare_with: Path | None = None
    """Folder of a run that was trained directly, of the student's size say: the report then tells what the deep
    teacher bought. May be given later, with `--resume`."""
    quiet: bool = False
    """No progress, only the result."""
    json: JsonFile | None = None
    """Write the numbers of the result here, too."""
    config: tyro.conf.OmitArgPrefixes[DistillConfig] = field(default_factory=DistillConfig)


def main() -> None:
    """Console script."""
    prepare_process()
    with command_line():
        if sys.argv[1:2] == ["sweep"]:
            from student import sweep

            keep_compiled_programs()
            sweep.main(sys.argv[2:])
        else:
            distill(sys.argv[1:])


def distill(given: list[str]) -> None:
    """Distil or go on, report, export."""
    arguments = tyro.cli(Arguments, args=given)
    keep_compiled_programs()
    folder = RunFolder(arguments.run)
    if arguments.resume:
        there, _ = folder.load(DistillConfig)
        # Parsed again over the run's own settings, so that what differs from them is what was asked for.
        arguments = tyro.cli(Arguments, args=given, default=Arguments(config=there))
        others = ["--overwrite would replace it"] if arguments.overwrite else []
        continued(there, arguments.config, run=folder.path, length="rounds", others=others)
    elif arguments.teacher is None:
        raise ShoalError("--teacher: name the folder of a teacher's run, or --resume a distillation.")

    from student import pipeline

    with Progress(f"student {folder.path.name}", quiet=arguments.quiet) as progress:
        if arguments.resume:
            runs = {"teacher": arguments.teacher, "compare_with": arguments.compare_with}
            pipeline.go_on(folder, arguments.config, progress, **runs)
        elif arguments.teacher is not None:
            pipeline.begin(
                arguments.teacher,
                folder,
                arguments.config,
                progress,
                replace=arguments.overwrite,
                compare_with=arguments.compare_with,
            )
        pipeline.export(folder, arguments.output or folder.path / "student.onnx", progress)
    if arguments.json is not None:
        write_json(arguments.json, folder.read_summary(), indent=1)


if __name__ == "__main__":
    main()
