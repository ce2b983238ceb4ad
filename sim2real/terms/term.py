"""What all terms have in common: a `kind` by which YAML and contracts name them.

A kind is one of those that ship, the name of an entry point in the group `shoal.terms`, or `module:Class` of any
package that is installed. Every kind of term is one class, which says all about itself; nothing else knows its name.
"""

from __future__ import annotations

import functools
import importlib
from importlib import metadata
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BeforeValidator, GetJsonSchemaHandler, SerializeAsAny, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from sim2real.errors import UnknownName, closest, first_line, problems_and_known, shown
from sim2real.frozen import Frozen

ENTRY_POINTS = "shoal.terms"
_T = TypeVar("_T", bound="Term")


class Term(Frozen):
    """Base of readings, features, actions, goals, resets and terminations."""

    what: ClassVar[str] = "term"
    """What it is, in the words of an error message."""
    kind: str

    @classmethod
    def named(cls) -> str:
        """The kind of this class, empty for one that is only a base of others."""
        default = cls.model_fields["kind"].default
        return default if isinstance(default, str) else ""


@functools.cache
def shipped(base: type[Term]) -> dict[str, type[Term]]:
    """All classes of the package below `base`, by kind."""
    found: dict[str, type[Term]] = {}
    for cls in base.__subclasses__():
        found |= shipped(cls)
        if cls.named() and cls.__module__.startswith("sim2real."):
            found[cls.named()] = cls
    return found


def find_kind(base: type[_T], kind: str) -> type[_T]:
    """The class of a kind; `ValueError` with the known ones and the closest where there is none."""
    known = shipped(base)
    if kind in known:
        return known[kind]  # type: ignore[return-value]
    points = {point.name: point for point in metadata.entry_points(group=ENTRY_POINTS)}
    try:
        if kind in points:
            found = points[kind].load()
        elif ":" in kind:
            found = _named(kind)
        else:
            hint = closest(kind, [*known, *points])
            names = f"Known kinds of {base.what} are {', '.join(sorted(known))}"
            raise UnknownName(f"unknown kind {shown(kind)} of {base.what}{hint}", names)
    except UnknownName:
        raise
    except ImportError as error:
        package = (points[kind].value if kind in points else kind).partition(":")[0].partition(".")[0]
        raise ValueError(
            f"kind {kind!r} of {base.what} comes from the package {package!r}, which cannot be imported here "
            f"({error}); install it where this is used"
        ) from error
    except Exception as error:
        # A module of somebody else's may raise anything while it is imported.
        raise ValueError(
            f"kind {shown(kind)} of {base.what}: {first_line(error)}; name a class as `module:Class`"
        ) from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ValueError(f"kind {kind!r} is no {base.what}: it must be a subclass of {base.__module__}.{base.__name__}")
    return found


def _named(kind: str) -> Any:
    """What `module:Class` names."""
    module, _, name = kind.partition(":")
    if not all(part.isidentifier() for part in [*module.split("."), name]):
        raise ValueError("it names no class")
    return getattr(importlib.import_module(module), name)


def read_term(base: type[_T], data: Any) -> _T:
    """A term from its plain data: a mapping with `kind`, or the kind alone."""
    if isinstance(data, base):
        return data
    fields = {"kind": data} if isinstance(data, str) else data
    if not isinstance(fields, dict) or not isinstance(fields.get("kind"), str):
        raise ValueError(f"a {base.what} is a mapping with a kind, or a kind alone, got {str(data)[:80]!r}")
    try:
        return find_kind(base, fields["kind"]).model_validate(fields)
    except ValidationError as error:
        said, known = problems_and_known(error)
        said = f"{fields['kind']}: {said}"
        raise (UnknownName(said, known) if known else ValueError(said)) from error


_ANY_MAPPING = {"type": "object", "required": ["kind"]}
_in_the_making: set[type[Term]] = set()


class _Alternatives:
    """JSON schema, for editors, of every shipped kind. Terms that hold terms of their own sort hold any mapping."""

    def __init__(self, base: type[Term]) -> None:
        self._base = base

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        if self._base in _in_the_making:
            return dict(_ANY_MAPPING)
        _in_the_making.add(self._base)
        try:
            known = shipped(self._base)
            alternatives = [handler(cls.__pydantic_core_schema__) for cls in known.values()]
        finally:
            _in_the_making.discard(self._base)
        return {"anyOf": [{"enum": sorted(known)}, *alternatives, dict(_ANY_MAPPING)]}


def any_of(base: type[_T]) -> Any:
    """The type of a field that holds any term of a base."""
    kind: Any = base
    return Annotated[SerializeAsAny[kind], BeforeValidator(lambda data: read_term(base, data)), _Alternatives(base)]  # type: ignore[misc]
