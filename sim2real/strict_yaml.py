"""YAML as every settings file of the package is read and written: YAML 1.2's core schema, and no surprises.

PyYAML by itself takes the last of two equal keys in silence and follows YAML 1.1, where `off` is false, `1e3` a text,
`1:30` ninety and `010` eight. Here `off` and `1:30` are texts, `1e3` is a number and `010` is ten; a key that stands
twice is an error. Aliases may be used as long as what they expand to stays small; merge keys (`<<`) may not.
"""

from __future__ import annotations

import re
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

_MOST_CHARACTERS, _MOST_VALUES = 4_000_000, 100_000
_TAG = "tag:yaml.org,2002:"
_PLAIN = {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+",
    "float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
}
"""What a scalar without quotes must look like to be no text, by tag."""


class YamlError(ValueError):
    """What is wrong with a text, all of it, as the rest of a sentence."""


class _Loader(yaml.SafeLoader):
    """Composes nodes; `_Reading` makes data of them."""


class _Dumper(yaml.SafeDumper):
    """Knows both versions' rules, so that a text is quoted that any reader could take for something else."""


def _text(dumper: _Dumper, text: str) -> ScalarNode:
    """Unicode's own line breaks are escaped, since quoted as they are they would be read as others, or as a blank."""
    return dumper.represent_scalar(f"{_TAG}str", text, style='"' if set(text) & set(_LINE_BREAKS) else None)


_LINE_BREAKS = "\x85\u2028\u2029"
_Dumper.add_representer(str, _text)
_Loader.yaml_implicit_resolvers = {}
for _name, _pattern in _PLAIN.items():
    for _side in (_Loader, _Dumper):
        _side.add_implicit_resolver(_TAG + _name, re.compile(f"(?:{_pattern})$"), None)


def load(text: str) -> Any:
    """Dictionaries with text keys, lists, texts, numbers, booleans and None; raises `YamlError`."""
    if len(text) > _MOST_CHARACTERS:
        raise YamlError(f"is longer than {_MOST_CHARACTERS:,} characters, which no settings are")
    try:
        node = yaml.compose(text, Loader=_Loader)
        return None if node is None else _Reading().document(node)
    except yaml.MarkedYAMLError as error:
        raise YamlError(f"is not valid YAML: {_line(error.problem_mark)}{_words(error)}") from error
    except yaml.YAMLError as error:
        raise YamlError(f"is not valid YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise YamlError("is not valid YAML: it is nested too deeply") from error


def dump(data: Any, *, flow: bool | None = False) -> str:
    """Text that `load` reads back; with `flow` None, lists of plain values stand on one line."""
    return str(yaml.dump(data, Dumper=_Dumper, sort_keys=False, default_flow_style=flow, allow_unicode=True))


class _Reading:
    """Turns nodes into data, each once."""

    def __init__(self) -> None:
        self._values = 0
        self._open: set[int] = set()
        self._twice: list[str] = []

    def document(self, root: Node) -> Any:
        """The data, once it is known that no mapping has a key twice."""
        data = self._value(root)
        if self._twice:
            raise YamlError(f"has keys more than once: {'; '.join(dict.fromkeys(self._twice))}; keep one of each")
        return data

    def _value(self, node: Node) -> Any:
        self._values += 1
        if self._values > _MOST_VALUES:
            raise YamlError(f"expands to more than {_MOST_VALUES:,} values; write fewer aliases")
        if isinstance(node, ScalarNode):
            return _scalar(node)
        if id(node) in self._open:
            raise _invalid(node, "an alias stands inside what it names")
        self._open.add(id(node))
        if isinstance(node, SequenceNode) and node.tag == f"{_TAG}seq":
            out: Any = [self._value(item) for item in node.value]
        elif isinstance(node, MappingNode) and node.tag == f"{_TAG}map":
            out = self._mapping(node)
        else:
            raise _invalid(node, f"the tag {node.tag} is not known")
        self._open.discard(id(node))
        return out

    def _mapping(self, node: MappingNode) -> dict[str, Any]:
        lines: dict[str, list[int]] = {}
        for key, _ in node.value:
            if not isinstance(key, ScalarNode) or key.tag != f"{_TAG}str":
                shown = repr(key.value) if isinstance(key, ScalarNode) else "a list or mapping"
                raise _invalid(key, f"{shown} is no text, as keys must be")
            if key.value == "<<":
                raise _invalid(key, "merge keys (<<) are not supported, so write the keys out")
            lines.setdefault(key.value, []).append(key.start_mark.line + 1)
        self._twice += [
            f"{name!r} in lines {', '.join(map(str, found))}" for name, found in lines.items() if len(found) > 1
        ]
        return {key.value: self._value(value) for key, value in node.value}


def _scalar(node: ScalarNode) -> Any:
    text, kind = node.value, node.tag.removeprefix(_TAG)
    if kind == "str":
        return text
    if kind not in _PLAIN or re.fullmatch(_PLAIN[kind], text) is None:
        raise _invalid(node, f"{text!r} cannot be read as {node.tag}")
    try:
        match kind:
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int":
                return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
            case _:
                return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError as error:  # Python reads no integers of more than 4300 digits.
        raise _invalid(node, f"a number has {len(text)} digits") from error


def _invalid(node: Node, problem: str) -> YamlError:
    return YamlError(f"is not valid YAML: {_line(node.start_mark)}{problem}")


def _line(mark: yaml.Mark | None) -> str:
    return "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "


def _words(error: yaml.MarkedYAMLError) -> str:
    if error.problem and "\\t" in error.problem:
        return "there is a tab, but only spaces may indent"
    return " ".join(f"{error.context or ''} {error.problem or ''}".split())
