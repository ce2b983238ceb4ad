"""The one error type that users are meant to read, and what turns the complaints of libraries into one."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Sequence

from pydantic import ValidationError
from pydantic_core import ErrorDetails

_MOST, _LONGEST = 8, 80
"""Of problems in one sentence, and of the characters of a value."""
_ALTERNATIVE = re.compile(
    r"(constrained|function|lax|json|nullable|union|tagged)-|(tuple|list|dict|literal)\[|(float|int|str|bool)$"
)

_BRIEF = reprlib.Repr()
_BRIEF.maxstring = _BRIEF.maxother = _BRIEF.maxlong = _LONGEST + 1


class ShoalError(Exception):
    """A problem the user can fix: one sentence with the field, the value and what to do.

    Command lines print the sentence without a traceback and exit with status 2.
    """


class ContractMismatch(ShoalError):
    """Two sides of a hand-over disagree; the sentence names each field and both values."""


class UnknownName(ValueError):
    """A name that is none of the known ones; several of a sort share one list of those."""

    def __init__(self, said: str, known: str) -> None:
        super().__init__(f"{said}. {known}")
        self.said, self.known = said, known


def raise_all(problems: Sequence[str], *, what: str) -> None:
    """Raise one `ShoalError` for all problems of an input, `what`; nothing where there are none."""
    if len(problems) == 1:
        raise ShoalError(f"{what}: {problems[0]}.")
    if problems:
        raise ShoalError(f"{what} has {len(problems)} problems:\n  " + "\n  ".join(f"{said}." for said in problems))


def first_line(error: BaseException) -> str:
    """The first line of an error's message, at most 300 characters without control characters; those of libraries may
    go on for pages, and quote what a file holds.
    """
    return printable((str(error).strip().splitlines() or [type(error).__name__])[0])


def printable(text: str, *, most: int = 300) -> str:
    """The first characters of what a library says, or quotes, none of them a control character."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text[:most])


def shown(value: object) -> str:
    """A value that somebody else wrote, as text for a sentence: of at most about 80 characters, none of them a control
    character, whatever its size and depth.
    """
    try:
        text = " ".join(_BRIEF.repr(value).split())
    except ValueError:  # an integer of so many digits that Python does not write it
        text = f"a {type(value).__name__}"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def problems(error: ValidationError, of: str = "") -> str:
    """All of pydantic's complaints, in words; of a field's alternatives the first that does not fit.

    `of` is what the fields are of, "goal" say, and begins their path; without it they stand alone, as those of a file.
    """
    return ". ".join(filter(None, problems_and_known(error, of)))


def problems_and_known(error: ValidationError, of: str = "") -> tuple[str, str]:
    """The complaints, and once for all of them which names are known, where one was not."""
    first: dict[str, ErrorDetails] = {}
    for one in error.errors(include_url=False):
        first.setdefault(_path(one["loc"], to_alternatives=True), one)
    told = list(first.values())[:_MOST]
    known = {cause.known: None for one in told if isinstance(cause := _cause(one), UnknownName)}
    more = f"; and {len(first) - _MOST} more" if len(first) > _MOST else ""
    said = [_problem(one, ".".join(filter(None, (of, _path(one["loc"]))))) for one in told]
    return "; ".join(said) + more, ". ".join(known)


def _cause(one: ErrorDetails) -> object:
    return one.get("ctx", {}).get("error")


def _path(location: tuple[int | str, ...], *, to_alternatives: bool = False) -> str:
    """The path of a field, without the names that pydantic gives to the alternatives of its type, or only as far as to
    the first of those.
    """
    parts = [printable(str(part)[:_LONGEST]) for part in location]
    named = [index for index, part in enumerate(parts) if index and _ALTERNATIVE.match(part)]
    end = named[0] if named and to_alternatives else len(parts)
    return ".".join(part for index, part in enumerate(parts[:end]) if index not in named)


def _problem(one: ErrorDetails, where: str) -> str:
    given = shown(one["input"])
    match one["type"]:
        case "missing":
            return f"{where} is missing"
        case "extra_forbidden":
            return f"{where} is not a known key"
        case "value_error":
            cause = _cause(one)
            said = printable(cause.said if isinstance(cause, UnknownName) else str(cause))
            return f"{where}: {said}" if where else said
        case "model_type" | "dict_type":
            given = "it is empty" if one["input"] is None else f"got {given}"
            return f"{where or 'the file'}: must hold keys and values, {given}"
        case _:
            return f"{where or 'the file'}: {one['msg'][0].lower()}{printable(one['msg'][1:])}, got {given}"
