"""`export-onnx`: write a student's policy file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line, prepare_process
from sim2real.contract.policy_file import Certificate
from sim2real.files import write_json
from sim2real.progress import Progress


@dataclass(frozen=True)
class Arguments:
    """Convert a distilled student to one ONNX file, certified against the policy that was trained."""

    student: Path
    """Folder of the student's run."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("student.onnx")
    """The file to write."""
    license: str | None = None
    """Under which the policy may be used, an SPDX name such as Apache-2.0; written into the file."""
    quiet: bool = False
    """No progress, only the result."""
    json: JsonFile | None = None
    """Write the certificate here, too."""


def main() -> None:
    """Console script."""
    prepare_process()
    with command_line():
        arguments = tyro.cli(Arguments)
        from sim2real.backends.compile_cache import keep_compiled_programs

        keep_compiled_programs()
        certificate = export_run(arguments.student, arguments.output, license=arguments.license, quiet=arguments.quiet)
        if arguments.json is not None:
            write_json(arguments.json, certificate.model_dump(mode="json"), indent=1)


def export_run(run: Path, output: Path, *, license: str | None = None, quiet: bool = False) -> Certificate:
    """Export the student of a run and say what was certified, without its progress if `quiet`."""
    from export.write import export_student
    from student.run import load_student

    student = load_student(run)
    with Progress(f"export {run.name}", quiet=quiet) as progress:
        certificate = export_student(student, output, license=license, progress=progress)
    print(
        f"{output}: {output.stat().st_size / 1024:.0f} kB, {certificate.nodes} nodes, "
        f"max error {certificate.max_abs_error:.1e} over {certificate.samples} inputs, "
        f"tick {certificate.tick_us_p50:.0f} us p50 here"
    )
    return certificate


if __name__ == "__main__":
    main()
