"""Damaged inputs for parsers: valid ones, changed as a bad disk, a wrong program or an attacker would change them.

    damage = Damage(random.Random(seed))
    damage.content(b"...")           # bits, lengths, cuts, repetitions, nesting
    damage.tree({"v": 2, ...})       # types, missing and repeated keys, numbers, strings, depth

Every input follows from the seed alone.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

_DEPTHS = (3, 40, 300, 3000, 100_000)
_TREE_DEPTHS = (3, 40, 100)
"""Less than what writes a tree can take; deeper ones are made of bytes."""
_NESTED = ((b"[", b"]"), (b'{"a":', b"}"), (b"\x91", b""), (b"\x81\xa1a", b""), (b"(", b")"))
_INTEGERS = (0, 1, 2, 7, 127, 128, 255, 256, 32767, 65535, 2**24)
_LARGE = (2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1)
_FINITE = (0.0, -0.0, 1.0, -1.0, 5e-324, 1e-320, 1e18, 1e38, 3.5e38, 1e154, 1e308, -1e308)
_FLOATS = (*_FINITE, float("inf"), -float("inf"), float("nan"))
_WORDS = ("", " ", "a", "NaN", "inf", "-Infinity", "1e999", "9" * 400, "null", "true", "[]", "x" * 5000, "1_0", "٣")
_STRINGS = (*_WORDS, "\0", "\x1b[31m", "\ud800", "\udfff\ud800", "ä", "😀", "../../etc/passwd", "%s%n", "{0.__class__}")
_MOST_CHANGES, _MOST_NODES = 4, 20_000


class Again(str):
    """A key that is written a second time: equal in the text, another one in a dictionary."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


class Damage:
    """Draws from `rng`; the same seed gives the same inputs."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def content(self, content: bytes, others: Sequence[bytes] = ()) -> bytes:
        """`content` with one to four changes; parts of `others` may be spliced in."""
        data = bytearray(content)
        for _ in range(self.rng.randint(1, _MOST_CHANGES)):
            change = self.rng.choice(self._content_changes)
            data = change(self, data)
            if others and self.rng.random() < 0.05:
                other = self.rng.choice(others)
                data[self._place(data) :] = other[self._place(other) :]
        return bytes(data)

    def tree(self, tree: Any) -> Any:
        """A copy of plain data with one to four changes, some of them deep inside."""
        holder = [deepcopy(tree)]
        for _ in range(self.rng.randint(1, _MOST_CHANGES)):
            if len(nodes := _nodes(holder)) < _MOST_NODES:
                self._change_node(holder, nodes)
        return holder[0]

    def value(self) -> Any:
        """Something that hardly any field expects."""
        rng = self.rng
        match rng.randrange(9):
            case 0:
                return rng.choice((*_INTEGERS, *_LARGE)) * rng.choice((1, -1))
            case 1:
                return rng.choice(_FLOATS)
            case 2:
                return rng.choice(_STRINGS)
            case 3:
                return rng.choice((None, True, False))
            case 4:
                return [self.value() for _ in range(rng.randrange(5))]
            case 5:
                return {rng.choice(_STRINGS): self.value() for _ in range(rng.randrange(3))}
            case 6:
                return self.nested(rng.choice(_TREE_DEPTHS))
            case 7:
                return 10 ** rng.choice((19, 30, 309, 400, 4299))
            case _:
                return [rng.choice(_FLOATS)] * rng.choice((0, 1, 2, 3, 4, 6, 7, 8, 1000))

    def number(self) -> float:
        """One that arithmetic does not like."""
        return self.rng.choice(_FLOATS)

    def nested(self, depth: int) -> Any:
        """Lists or dictionaries in each other."""
        inner: Any = []
        as_list = self.rng.random() < 0.5
        for _ in range(depth):
            inner = [inner] if as_list else {"a": inner}
        return inner

    def _change_node(self, holder: list[Any], nodes: list[tuple[Any, Any]]) -> None:
        """One change at a random node below `holder[0]`; deeper nodes are as likely as shallow ones."""
        rng = self.rng
        parent, key = rng.choice(nodes)
        node = parent[key]
        choice = rng.randrange(8)
        if choice == 0 and isinstance(parent, dict):
            del parent[key]
        elif choice == 1 and isinstance(parent, dict):
            parent[rng.choice((f"{key}_", str(key).upper(), rng.choice(_STRINGS)))] = parent.pop(key)
        elif choice == 2 and isinstance(parent, dict):
            parent[Again(str(key))] = rng.choice((node, self.value()))
        elif choice == 3 and isinstance(node, list):
            node[:] = rng.choice((node[:-1], node * 2, [*node, self.value()], node[::-1]))
        elif choice == 4:
            other_parent, other_key = rng.choice(nodes)
            parent[key] = deepcopy(other_parent[other_key])
        elif choice == 5 and isinstance(node, (int, float)) and not isinstance(node, bool):
            parent[key] = self.value() if abs(node) > 2**64 else self._other_number(node)
        elif choice == 6 and isinstance(node, str):
            at = rng.randrange(len(node) + 1)
            parent[key] = node[:at] + rng.choice(_STRINGS) + node[at:]
        else:
            parent[key] = self.value()

    def _other_number(self, number: float) -> Any:
        return self.rng.choice((-number, number + 1, number * 1e6, number * 1e300, str(number), [number]))

    def _place(self, data: Sequence[int]) -> int:
        return self.rng.randrange(len(data) + 1)

    def _flip_bit(self, data: bytearray) -> bytearray:
        if data:
            data[self.rng.randrange(len(data))] ^= 1 << self.rng.randrange(8)
        return data

    def _replace_byte(self, data: bytearray) -> bytearray:
        if data:
            data[self.rng.randrange(len(data))] = self.rng.choice((0, 0xFF, 0x80, 0x22, 0x7B, self.rng.randrange(256)))
        return data

    def _cut(self, data: bytearray) -> bytearray:
        return data[: self._place(data)]

    def _remove(self, data: bytearray) -> bytearray:
        at = self._place(data)
        del data[at : at + self.rng.choice((1, 2, 4, 8, 64, 4096))]
        return data

    def _insert(self, data: bytearray) -> bytearray:
        at = self._place(data)
        data[at:at] = self.rng.randbytes(self.rng.choice((1, 2, 4, 8, 64)))
        return data

    def _repeat(self, data: bytearray) -> bytearray:
        at = self._place(data)
        part = data[at : at + self.rng.choice((1, 4, 16, 256))]
        data[at:at] = part * self.rng.choice((1, 2, 50))
        return data

    def _integer(self, data: bytearray) -> bytearray:
        """A length, a count or an offset that is another one: 1 to 8 bytes, of either order."""
        size, order = self.rng.choice((1, 2, 4, 8)), self.rng.choice(("<", ">"))
        value = self.rng.choice((*_INTEGERS, *_LARGE, len(data), len(data) + 1)) % (1 << 8 * size)
        at = self._place(data)
        data[at : at + size] = struct.pack(order + {1: "B", 2: "H", 4: "I", 8: "Q"}[size], value)
        return data

    def _float(self, data: bytearray) -> bytearray:
        at = self._place(data) // 8 * 8
        data[at : at + 8] = struct.pack("<d", self.rng.choice(_FLOATS))
        return data

    def _nest(self, data: bytearray) -> bytearray:
        at, depth = self._place(data), self.rng.choice(_DEPTHS)
        opening, closing = self.rng.choice(_NESTED)
        if self.rng.random() < 0.05:
            data[at:at] = opening * depth + closing * depth
        return data

    def _text(self, data: bytearray) -> bytearray:
        at = self._place(data)
        text = self.rng.choice(_STRINGS).encode("utf-8", "surrogatepass")
        data[at : at + self.rng.choice((0, 1, len(text)))] = text
        return data

    _content_changes: tuple[Callable[[Damage, bytearray], bytearray], ...] = (
        _flip_bit,
        _flip_bit,
        _replace_byte,
        _replace_byte,
        _cut,
        _remove,
        _insert,
        _repeat,
        _integer,
        _integer,
        _float,
        _nest,
        _text,
    )


def _nodes(holder: list[Any]) -> list[tuple[Any, Any]]:
    """Every node as its container and key, without recursion."""
    found: list[tuple[Any, Any]] = []
    waiting: list[Any] = [holder]
    while waiting:
        container = waiting.pop()
        keys = list(container) if isinstance(container, dict) else range(len(container))
        for key in keys:
            found.append((container, key))
            if isinstance(container[key], (dict, list)):
                waiting.append(container[key])
    return found
