"""The one error type that users are meant to read, and what turns the complaints of libraries into one."""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
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


def closest(name: str, known: Iterable[str]) -> str:
    """The known name that was meant, as a question in brackets; empty where none is near."""
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def raise_each(problems: Sequence[str]) -> None:
    """Raise one `ValueError` for all problems of a model that is being validated; nothing where there are none."""
    if problems:
        raise ValueError("; ".join(problems))


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
    found = _of_one_alternative(error.errors(include_url=False))
    told = found[:_MOST]
    known = {cause.known: None for one in told if isinstance(cause := _cause(one), UnknownName)}
    more = f"; and {len(found) - _MOST} more" if len(found) > _MOST else ""
    said = [_problem(one, ".".join(filter(None, (of, _path(one["loc"])))), error.title) for one in told]
    return "; ".join(said) + more, ". ".join(known)


def _of_one_alternative(errors: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """One complaint of every field, and of a field's alternatives those about the one that was meant: whose keys are
    least wrong, the first of several.
    """
    fields: dict[str, dict[str, dict[str, ErrorDetails]]] = {}
    for one in errors:
        parts = [str(part) for part in one["loc"]]
        named = next((index for index, part in enumerate(parts) if index and _ALTERNATIVE.match(part)), len(parts))
        alternatives = fields.setdefault(_path(one["loc"], to_alternatives=True), {})
        alternatives.setdefault("".join(parts[named : named + 1]), {}).setdefault(_path(one["loc"]), one)
    return [one for alternatives in fields.values() for one in min(alternatives.values(), key=_wrong_keys).values()]


def _wrong_keys(about: dict[str, ErrorDetails]) -> int:
    return sum(one["type"] in ("missing", "extra_forbidden") for one in about.values())


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


def _closest_key(model: str, location: tuple[int | str, ...]) -> str:
    """The key that was meant by an unknown one, as a question; empty where none is near. `model` is the class by name.

    Pydantic says what is not known, and not what would be; so the fields on the way are looked up.
    """
    models = [cls for cls in _below(BaseModel) if cls.__name__ == model]
    for part in location[:-1]:
        fields = [cls.model_fields[part] for cls in models if isinstance(part, str) and part in cls.model_fields]
        models = [cls for field in fields for cls in _models_in(field.annotation)] if fields else models
    keys = {key for cls in models for key in cls.model_fields}
    return closest(str(location[-1]), keys)


def _below(cls: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for one in cls.__subclasses__():
        yield from (one, *_below(one))


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Models that a type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def _problem(one: ErrorDetails, where: str, model: str) -> str:
    given = shown(one["input"])
    match one["type"]:
        case "missing":
            return f"{where} is missing"
        case "extra_forbidden":
            return f"{where} is not a known key{_closest_key(model, one['loc'])}"
        case "value_error":
            cause = _cause(one)
            said = printable(cause.said if isinstance(cause, UnknownName) else str(cause))
            return f"{where}: {said}" if where else said
        case "model_type" | "dict_type":
            given = "it is empty" if one["input"] is None else f"got {given}"
            return f"{where or 'the file'}: must hold keys and values, {given}"
        case _:
            return f"{where or 'the file'}: {one['msg'][0].lower()}{printable(one['msg'][1:])}, got {given}"
