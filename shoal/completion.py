"""The console script `shoal-completion`: shells complete options, and the names of what there is.

    shoal-completion bash > ~/.shoal.bash                              # and in ~/.bashrc: source ~/.shoal.bash
    shoal-completion zsh train-teacher > ~/.zfunc/_train-teacher       # one file for each program

tyro writes the scripts (for other shells: `runtime --tyro-print-completion fish`, without what is added here). What is
added: names of tasks, drivers, randomisations and policies that ship, the subcommands that a program handles by itself,
and files wherever nothing else is known. Only programs whose libraries are installed are completed.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Literal, get_args

import tyro

from runtime.drivers.base import DRIVERS
from shoal.demo import shipped_models
from sim2real.console import command_line, prepare_process
from sim2real.errors import ShoalError, first_line
from sim2real.randomisation.config import Preset
from sim2real.tasks.shipped import packaged_tasks, task_names

Shell = Literal["bash", "zsh"]
Spec = dict[str, Any]
"""tyro's description of a command: its options, each with its flags and type, and its subcommands."""

_SPEC = re.compile(r"^COMPLETION_SPEC = (\{.*\})$", re.MULTILINE)
_ASKED = "completions = get_completions(words, current_index, COMPLETION_SPEC)"
_OR_FILES = f'{_ASKED} or ["__TYRO_COMPLETE_FILES__"]'
_WORD = ('compgen -f -- "$cur"', 'compgen -f -- "${COMP_WORDS[COMP_CWORD]}"')
"""What bash looks for among files: tyro's own choice has the words before in it."""
_OWN_SUBCOMMANDS = {
    "train-teacher": (("study", "depth"), ("study", "width"), ("study", "batch"), ("study", "actor-critic")),
    "distill": (("sweep",),),
}
"""Which programs look for by themselves, before tyro sees them."""
_NAMED_FIRST = {("sim2real", "show"): "task", ("sim2real", "check"): "task", ("shoal-demo", ""): "policy"}
"""Commands whose first argument without a flag is a name of that kind."""


@dataclass(frozen=True)
class Arguments:
    """Print what makes a shell complete Shoal's programs."""

    shell: tyro.conf.Positional[Shell]
    program: tyro.conf.Positional[str] = ""
    """Only this one; all if not given, which zsh does not know."""


def names() -> dict[str, list[str]]:
    """What can be named, by the option that takes the name."""
    presets = list(get_args(Preset))
    return {
        "task": [*task_names(), *packaged_tasks()],
        "robot": [*DRIVERS],
        "randomisation": presets,
        "base": presets,
        "policy": [*shipped_models()],
    }


def programs() -> dict[str, str]:
    """Module and function of each console script, `module:function`."""
    points = metadata.entry_points(group="console_scripts")
    return {point.name: point.value for point in points if point.dist is not None and point.dist.name == "shoal"}


def script(program: str, shell: Shell) -> str:
    """The completion of one program; `ShoalError` where it cannot be loaded."""
    text = _written_by_tyro(program, shell)
    spec = _spec_in(text)
    for words in _OWN_SUBCOMMANDS.get(program, ()):
        _place(spec, words, _spec_in(_written_by_tyro(program, shell, *words)))
    known = names()
    _add_names(spec, known)
    for (of, command), kind in _NAMED_FIRST.items():
        if of == program:
            _add_first(spec["subcommands"][command] if command else spec, known[kind])
    return _SPEC.sub(lambda _: f"COMPLETION_SPEC = {spec!r}", text).replace(_ASKED, _OR_FILES).replace(*_WORD)


def _written_by_tyro(program: str, shell: Shell, *subcommand: str) -> str:
    module, _, function = programs()[program].partition(":")
    code = f"import sys; sys.argv[0] = {program!r}; from {module} import {function}; {function}()"
    command = [sys.executable, "-c", code, *subcommand, "--tyro-print-completion", shell]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not _SPEC.search(done.stdout) or _ASKED not in done.stdout:
        said = (done.stderr.strip().splitlines() or ["it printed none"])[-1]
        raise ShoalError(f"shoal-completion: {program} cannot be completed here ({first_line(Exception(said))}).")
    return done.stdout


def _spec_in(text: str) -> Spec:
    found = _SPEC.search(text)
    assert found is not None
    spec = ast.literal_eval(found[1])
    assert isinstance(spec, dict)
    return spec


def _place(spec: Spec, words: tuple[str, ...], found: Spec) -> None:
    """A command's description where its words lead."""
    for word in words:
        empty = {"description": word, "options": [], "subcommands": {}, "frontier_groups": []}
        spec = spec["subcommands"].setdefault(word, empty)
    spec |= found | {"description": words[-1]}


def _add_names(spec: Spec, known: dict[str, list[str]]) -> None:
    """Names for each option that takes one; paths of files stay possible, where no name begins as what was typed."""
    for option in spec["options"]:
        found = [name for flag in option["flags"] for name in known.get(flag.removeprefix("--"), [])]
        if found and option["type"] in ("path", "value"):
            option |= {"type": "choice", "choices": found}
    for subcommand in spec["subcommands"].values():
        _add_names(subcommand, known)


def _add_first(spec: Spec, found: list[str]) -> None:
    """As subcommands, which is what tyro's script completes without a flag."""
    options = list(spec["options"])
    spec["subcommands"] |= {
        name: {"description": name, "options": options, "subcommands": {}, "frontier_groups": []} for name in found
    }


def main(argv: list[str] | None = None) -> None:
    """Console script."""
    prepare_process()
    with command_line():
        arguments = tyro.cli(Arguments, args=argv, description=__doc__)
        there_are = [name for name in programs() if name != "shoal-completion"]
        if arguments.program and arguments.program not in there_are:
            raise ShoalError(
                f"shoal-completion: no program {arguments.program!r}; choose one of {', '.join(there_are)}."
            )
        if arguments.shell == "zsh" and not arguments.program:
            raise ShoalError(
                f"shoal-completion: zsh wants a file for each program; name one of {', '.join(there_are)}."
            )
        for program in [arguments.program] if arguments.program else there_are:
            try:
                print(script(program, arguments.shell))
            except ShoalError as error:
                if arguments.program:
                    raise
                print(error, file=sys.stderr)


if __name__ == "__main__":
    main()
