"""`distill`: make a shallow student from a deep teacher, and export it; `distill sweep`: students of many sizes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from sim2real.child_process import python_module
from sim2real.errors import ShoalError
from student.config import DistillConfig


@dataclass(frozen=True)
class Arguments:
    """Distil a teacher into a shallow student, then write and certify its ONNX file."""

    teacher: Path | None = None
    """Folder of the teacher's run."""
    run: Path = Path("runs/student")
    """Folder for the student."""
    output: Path | None = None
    """The ONNX file; `student.onnx` in the run's folder by default."""
    overwrite: bool = False
    """Replace an earlier run in the same folder."""
    resume: bool = False
    """Continue the run in `--run` where it was interrupted, with its own settings and teacher."""
    config: tyro.conf.OmitArgPrefixes[DistillConfig] = field(default_factory=DistillConfig)


def main() -> None:
    """Console script."""
    try:
        if sys.argv[1:2] == ["sweep"]:
            from student import sweep

            sweep.main(sys.argv[2:])
        else:
            distill(tyro.cli(Arguments))
    except ShoalError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def distill(arguments: Arguments) -> None:
    """Distil, report, save, export."""
    from student.distill import Distiller
    from student.report.page import write_student_report
    from student.run import Source, save_student
    from teacher.run_folder import RunFolder
    from teacher.train import load_teacher

    folder, config = RunFolder(arguments.run), arguments.config
    if arguments.resume:
        config, _ = folder.load(DistillConfig)
        source = Source.read(folder)
        if arguments.teacher is not None and arguments.teacher.resolve() != source.teacher.resolve():
            raise ShoalError(f"--teacher: this run was distilled from {source.teacher}; leave --teacher out.")
        teacher = load_teacher(source.teacher)
        source.require(teacher)
    else:
        if arguments.teacher is None:
            raise ShoalError("--teacher: name the folder of a teacher's run, or --resume a distillation.")
        teacher = load_teacher(arguments.teacher)
        _make_room(arguments, arguments.teacher)
        folder.start(config, teacher.contract)
        Source(teacher=arguments.teacher, digest=teacher.digest).write(folder)
    distiller = Distiller(teacher, config, folder, resume=arguments.resume)
    params, final = distiller.run()
    contract = distiller.contract.with_lineage(
        teacher=teacher.digest[:16], teacher_depth=teacher.config.network.actor_depth, student=folder.path.name
    )
    save_student(folder, contract, teacher.config.task, params)
    distiller.forget_training_state()
    summary = json.loads((folder.path / "summary.json").read_text())
    report = folder.path / "report.html"
    write_student_report(report, teacher, distiller.policy, params.policy, summary, episodes=config.eval_envs)
    print(
        f"student: success coarse {final.success_coarse:.1%}, fine {final.success_fine:.1%} on held-out goals; "
        f"report in {report}"
    )
    _export(arguments)


def _make_room(arguments: Arguments, teacher: Path) -> None:
    run = arguments.run
    if run.resolve() == teacher.resolve():
        raise ShoalError(f"--run: {run} is the teacher's folder; give the student one of its own.")
    if (run / "config.yaml").exists():
        if not arguments.overwrite:
            raise ShoalError(
                f"--run: {run} holds a run already; add --resume to continue it, --overwrite to replace it, or choose "
                "another folder."
            )
        shutil.rmtree(run)


def _export(arguments: Arguments) -> None:
    """In a process of its own: `export` reads students from disk, and `student` knows nothing of `export`."""
    output = arguments.output or arguments.run / "student.onnx"
    command = python_module("export.cli", "--student", str(arguments.run), "--output", str(output))
    if subprocess.run(command, check=False).returncode:
        raise SystemExit(2)
