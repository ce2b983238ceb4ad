"""From a teacher's run to a student's policy file: distil, save, report, export, all of it in the student's folder.

Nothing of a run that fails before its first round is done stays behind, and what it was to replace is still there.
"""

from __future__ import annotations

import subprocess
from contextlib import nullcontext
from pathlib import Path

from sim2real.child_process import python_module
from sim2real.errors import ShoalError
from sim2real.progress import Progress
from student.config import DistillConfig
from student.distillation.distill import TRAINING, Distiller
from student.report.comparison import Comparison
from student.report.page import write_student_report
from student.run import Source, load_student, save_student
from teacher.run.folder import RunFolder
from teacher.run.resume import continued
from teacher.trained import Teacher, load_teacher


def begin(
    teacher: Path,
    folder: RunFolder,
    config: DistillConfig,
    progress: Progress,
    *,
    replace: bool = False,
    compare_with: Path | None = None,
) -> None:
    """Distil a new student into `folder`, which with `replace` may hold a run that it takes the place of."""
    _require_room(folder, teacher, replace=replace)
    loaded = load_teacher(teacher)
    source = Source(teacher=teacher, digest=loaded.digest, compare_with=compare_with)
    _comparison(source, loaded)  # What it cannot be compared with is known before hours of distilling.
    with folder.replaced() if replace else nullcontext(), folder.starting(config, loaded.contract):
        source.write(folder)
        _distil(Distiller(loaded, config, folder, progress=progress))
    report(folder, loaded, progress)


def go_on(
    folder: RunFolder,
    config: DistillConfig,
    progress: Progress,
    *,
    teacher: Path | None = None,
    compare_with: Path | None = None,
) -> None:
    """Finish the student in `folder`, with more rounds if `config` has more; `teacher` is where its teacher is now, and
    `compare_with` another run for the report.
    """
    loaded = require_same(folder, config, teacher)
    source = Source.read(folder)
    moved = {"teacher": teacher, "compare_with": compare_with}
    source = Source.model_validate(source.model_dump() | {name: path for name, path in moved.items() if path})
    _comparison(source, loaded)
    source.write(folder)
    if not is_finished(folder):
        folder.write_config(config)
        _distil(Distiller(loaded, config, folder, resume=True, progress=progress))
    report(folder, loaded, progress)


def require_same(folder: RunFolder, config: DistillConfig, teacher: Path | None = None) -> Teacher:
    """The teacher of the run in `folder`; `ShoalError` where that run cannot go on with these settings."""
    there, _ = folder.load(DistillConfig)
    continued(there, config, run=folder.path, length="rounds")
    if is_finished(folder) and config.rounds > there.rounds:
        raise ShoalError(
            f"{folder.path}: --rounds {config.rounds}: this student is finished after {there.rounds} and its training "
            "state is gone; distil again with --overwrite, or into another folder."
        )
    source = Source.read(folder)
    loaded = load_teacher(teacher or source.teacher)
    source.require(loaded)
    return loaded


def is_finished(folder: RunFolder) -> bool:
    """Whether the student in `folder` is complete, if not yet exported."""
    return (folder.path / "task.yaml").is_file() and not (folder.path / TRAINING).is_dir()


def _distil(distiller: Distiller) -> None:
    teacher, folder = distiller.teacher, distiller.folder
    params, _ = distiller.run()
    contract = distiller.contract.with_lineage(
        teacher=teacher.digest[:16], teacher_depth=teacher.config.network.actor_depth, student=folder.path.name
    )
    save_student(folder, contract, teacher.config.task, params)
    distiller.forget_training_state()


def report(folder: RunFolder, teacher: Teacher, progress: Progress) -> None:
    """Write `report.html` of a finished student."""
    progress.doing("measuring for the report")
    student, summary = load_student(folder.path), folder.read_summary()
    page = folder.path / "report.html"
    episodes = student.config.eval_envs
    bought = write_student_report(
        page,
        teacher,
        student.policy,
        student.params.policy,
        summary,
        episodes=episodes,
        comparison=_comparison(Source.read(folder), teacher),
    )
    scores = summary["student"]
    print(
        f"student: success coarse {scores['success_coarse']:.1%}, fine {scores['success_fine']:.1%} on held-out goals; "
        f"report in {page}"
    )
    if bought:
        print(bought)


def _comparison(source: Source, teacher: Teacher) -> Comparison | None:
    return None if source.compare_with is None else Comparison.load(teacher, source.teacher, source.compare_with)


def export(folder: RunFolder, output: Path, progress: Progress) -> None:
    """Export in a process of its own: `export` reads students from disk, and `student` knows nothing of `export`."""
    progress.doing("exporting")
    command = python_module("export.cli", "--student", str(folder.path), "--output", str(output))
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise ShoalError(f"export: {(done.stderr.strip().splitlines() or ['failed'])[-1].removeprefix('error: ')}")
    print(done.stdout.strip().splitlines()[-1])


def _require_room(folder: RunFolder, teacher: Path, *, replace: bool) -> None:
    run = folder.path.resolve()
    if teacher.resolve() == run:
        raise ShoalError(f"--run: {folder.path} is the teacher's folder; give the student one of its own.")
    if teacher.resolve().is_relative_to(run):
        raise ShoalError(f"--run: the teacher lies inside {folder.path}; give the student a folder of its own.")
    if not replace and folder.holds_run:
        raise ShoalError(
            f"--run: {folder.path} holds a run already; add --resume to continue it, --overwrite to replace it, or "
            "choose another folder."
        )
