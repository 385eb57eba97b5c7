"""DynamoDB's expressions, as far as the product writes them, read once and kept.

An item is what boto3 gives: attribute name → ``{"S": "…"}``, ``{"N": "1"}``, ``{"B": b"…"}``.
What is not understood is refused aloud: a count of something half understood would be worth
nothing.
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

Value = dict[str, Any]
Item = dict[str, Value]
Operand = Callable[[Item, Mapping[str, Value]], Value | None]
Condition = Callable[[Item, Mapping[str, Value]], bool]

Path = tuple[str, ...]
"""An attribute, or one of a map's: ``att.#k`` is a path of two."""

_TOKEN = re.compile(r"\s*([:#]?[A-Za-z_]\w*(?:\.#?[A-Za-z_]\w*)*|<>|<=|>=|[=<>(),+-])")
_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_CLAUSES = ("SET", "REMOVE", "ADD")


class NotUnderstood(Exception):
    """An expression that is DynamoDB's perhaps, but not one that the product wrote so far."""


@dataclass(frozen=True, slots=True)
class Update:
    """An update expression: what each attribute becomes, from the item as it was."""

    sets: Sequence[tuple[Path, Operand]]
    removes: Sequence[Path]
    adds: Sequence[tuple[str, str]]

    def apply(self, old: Item, values: Mapping[str, Value]) -> Item:
        """The item after the update; ``old`` stays as it is."""
        new = dict(old)
        for path, operand in self.sets:
            value = operand(old, values)
            if value is None:
                raise NotUnderstood(f"{path} is set from an attribute that is not there")
            _put(new, path, value)
        for path in self.removes:
            _put(new, path, None)
        for name, value_name in self.adds:
            total = Decimal(old.get(name, {"N": "0"})["N"]) + Decimal(values[value_name]["N"])
            new[name] = {"N": str(total)}
        return new


@dataclass(frozen=True, slots=True)
class KeyCondition:
    """``hash = :value`` and perhaps bounds of the range key, in the order of its values."""

    hash_key: str
    hash_value: str
    range_key: str | None
    operator: str
    operands: Sequence[str]


@functools.lru_cache(maxsize=1024)
def condition(text: str, names: tuple[tuple[str, str], ...] = ()) -> Condition:
    """Read a condition expression."""
    reader = _Reader(text, dict(names))
    found = reader.either()
    reader.end()
    return found


@functools.lru_cache(maxsize=1024)
def update(text: str, names: tuple[tuple[str, str], ...] = ()) -> Update:
    """Read an update expression."""
    reader = _Reader(text, dict(names))
    sets: list[tuple[Path, Operand]] = []
    removes: list[Path] = []
    adds: list[tuple[str, str]] = []
    while reader.more():
        clause = reader.take()
        while True:
            if clause == "SET":
                path = reader.path()
                reader.expect("=")
                sets.append((path, reader.sum()))
            elif clause == "REMOVE":
                removes.append(reader.path())
            elif clause == "ADD":
                adds.append((reader.name(), reader.take()))
            else:
                raise NotUnderstood(text)
            if not reader.accept(","):
                break
    return Update(sets, removes, adds)


@functools.lru_cache(maxsize=1024)
def key_condition(text: str, names: tuple[tuple[str, str], ...] = ()) -> KeyCondition:
    """Read a key condition expression."""
    reader = _Reader(text, dict(names))
    hash_key = reader.name()
    reader.expect("=")
    hash_value = reader.take()
    if not reader.more():
        return KeyCondition(hash_key, hash_value, None, "", ())
    reader.expect("AND")
    if reader.accept("begins_with"):
        reader.expect("(")
        range_key = reader.name()
        reader.expect(",")
        found = KeyCondition(hash_key, hash_value, range_key, "begins_with", (reader.take(),))
        reader.expect(")")
    else:
        range_key = reader.name()
        word = reader.take()
        operands = [reader.take()]
        if word == "BETWEEN":
            reader.expect("AND")
            operands.append(reader.take())
        elif word != "=" and word not in _ORDERS:
            raise NotUnderstood(text)
        found = KeyCondition(hash_key, hash_value, range_key, word, operands)
    reader.end()
    return found


def comparable(value: Value) -> Any:
    """A value that sorts as DynamoDB sorts: numbers by size, texts by their UTF-8 bytes."""
    ((kind, inner),) = value.items()
    if kind == "N":
        return int(inner) if inner.lstrip("-").isdigit() else Decimal(inner)
    if kind == "S":
        return inner.encode()
    if kind == "B":
        return inner
    raise NotUnderstood(f"type {kind} has no order")


class _Reader:
    """A recursive descent over the tokens of one expression."""

    def __init__(self, text: str, names: Mapping[str, str]) -> None:
        self._text = text
        self._names = names
        self._tokens: list[str] = []
        place = 0
        while place < len(text.rstrip()):
            found = _TOKEN.match(text, place)
            if found is None:
                raise NotUnderstood(text)
            self._tokens.append(found[1])
            place = found.end()
        self._next = 0

    def more(self) -> bool:
        return self._next < len(self._tokens)

    def take(self) -> str:
        if not self.more():
            raise NotUnderstood(self._text)
        self._next += 1
        return self._tokens[self._next - 1]

    def accept(self, token: str) -> bool:
        if self.more() and self._tokens[self._next] == token:
            self._next += 1
            return True
        return False

    def expect(self, token: str) -> None:
        if not self.accept(token):
            raise NotUnderstood(self._text)

    def end(self) -> None:
        if self.more():
            raise NotUnderstood(self._text)

    def name(self) -> str:
        (name,) = self.path()
        return name

    def path(self) -> Path:
        return self._path_of(self.take())

    def _path_of(self, token: str) -> Path:
        if not re.match(r"[#\w]", token):
            raise NotUnderstood(self._text)
        parts = token.split(".")
        return tuple(self._names[part] if part.startswith("#") else part for part in parts)

    def either(self) -> Condition:
        parts = [self._both()]
        while self.accept("OR"):
            parts.append(self._both())
        if len(parts) == 1:
            return parts[0]
        return lambda item, values: any(part(item, values) for part in parts)

    def _both(self) -> Condition:
        parts = [self._one()]
        while self.accept("AND"):
            parts.append(self._one())
        if len(parts) == 1:
            return parts[0]
        return lambda item, values: all(part(item, values) for part in parts)

    def _one(self) -> Condition:
        if self.accept("NOT"):
            inner = self._one()
            return lambda item, values: not inner(item, values)
        if self.accept("("):
            inner = self.either()
            self.expect(")")
            return inner
        for word, wanted in (("attribute_exists", True), ("attribute_not_exists", False)):
            if self.accept(word):
                self.expect("(")
                path = self.path()
                self.expect(")")
                return functools.partial(_exists, path, wanted)
        return self._comparison()

    def _comparison(self) -> Condition:
        left = self._operand()
        word = self.take()
        if word == "BETWEEN":
            low = self._operand()
            self.expect("AND")
            high = self._operand()
            return lambda item, values: (
                _in_order(operator.le, low(item, values), left(item, values))
                and _in_order(operator.le, left(item, values), high(item, values))
            )
        if word == "IN":
            self.expect("(")
            choices = [self._operand()]
            while self.accept(","):
                choices.append(self._operand())
            self.expect(")")
            return lambda item, values: any(
                _equal(left(item, values), choice(item, values)) for choice in choices
            )
        right = self._operand()
        if word == "=":
            return lambda item, values: _equal(left(item, values), right(item, values))
        if word == "<>":
            return lambda item, values: not _equal(left(item, values), right(item, values))
        if word in _ORDERS:
            order = _ORDERS[word]
            return lambda item, values: _in_order(order, left(item, values), right(item, values))
        raise NotUnderstood(self._text)

    def sum(self) -> Operand:
        """The right side of a SET."""
        left = self._operand()
        for sign, factor in (("+", 1), ("-", -1)):
            if self.accept(sign):
                return functools.partial(_sum, left, self._operand(), factor)
        return left

    def _operand(self) -> Operand:
        if self.accept("if_not_exists"):
            self.expect("(")
            name = self.name()
            self.expect(",")
            otherwise = self.sum()
            self.expect(")")
            return lambda item, values: item[name] if name in item else otherwise(item, values)
        if self.accept("size"):
            self.expect("(")
            measured = self.path()
            self.expect(")")
            return lambda item, values: _size(_get(item, measured))
        token = self.take()
        if token.startswith(":"):
            return lambda item, values: values[token]
        path = self._path_of(token)
        if len(path) == 1:
            return lambda item, values: item.get(path[0])
        return lambda item, values: _get(item, path)


def _get(item: Item, path: Path) -> Value | None:
    """What lies at a path, or None where nothing does."""
    value = item.get(path[0])
    for name in path[1:]:
        value = None if value is None else value["M"].get(name)
    return value


def _put(item: Item, path: Path, value: Value | None) -> None:
    """Put a value at a path, or take away what is there; maps on the way are copied."""
    for name in path[:-1]:
        if name not in item:
            raise NotUnderstood("a map that is not there")
        item[name] = {"M": dict(item[name]["M"])}
        item = item[name]["M"]
    if value is None:
        item.pop(path[-1], None)
    else:
        item[path[-1]] = value


def _size(value: Value | None) -> Value | None:
    """Bytes of a text or a binary, entries of a map."""
    if value is None:
        return None
    ((kind, inner),) = value.items()
    if kind not in ("S", "B", "M", "L"):
        raise NotUnderstood(f"type {kind} has no size")
    return {"N": str(len(inner.encode() if kind == "S" else inner))}


def _exists(path: Path, wanted: bool, item: Item, values: Mapping[str, Value]) -> bool:
    return (_get(item, path) is not None) is wanted


def _equal(left: Value | None, right: Value | None) -> bool:
    if left is None or right is None:
        return False
    if "N" in left and "N" in right:
        return Decimal(left["N"]) == Decimal(right["N"])
    return left == right


def _in_order(order: Callable[[Any, Any], bool], left: Value | None, right: Value | None) -> bool:
    if left is None or right is None or left.keys() != right.keys():
        return False
    return order(comparable(left), comparable(right))


def _sum(
    left: Operand, right: Operand, factor: int, item: Item, values: Mapping[str, Value]
) -> Value:
    one, other = left(item, values), right(item, values)
    if one is None or other is None:
        raise NotUnderstood("a sum of an attribute that is not there")
    return {"N": str(Decimal(one["N"]) + factor * Decimal(other["N"]))}
