"""The one error type that users are meant to read, and what turns the complaints of libraries into one."""

from __future__ import annotations

from pydantic import ValidationError


class ShoalError(Exception):
    """A problem the user can fix: one sentence with the field, the value and what to do.

    Command lines print the sentence without a traceback and exit with status 2.
    """


class ContractMismatch(ShoalError):
    """Two sides of a hand-over disagree; the sentence names each field and both values."""


def first_line(error: BaseException) -> str:
    """Of an error's message, at most 300 characters; those of libraries may go on for pages."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def first_problem(error: ValidationError) -> str:
    """The first of pydantic's complaints, in words."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    match first["type"]:
        case "missing":
            return f"{where} is missing"
        case "extra_forbidden":
            return f"{where} is not a known key"
        case "value_error":
            return f"{where}: {first['ctx']['error']}" if where else str(first["ctx"]["error"])
        case _:
            return f"{where or 'the file'}: {first['msg'][0].lower()}{first['msg'][1:]}, got {first['input']!r}"
