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

_TOKEN = re.compile(r"\s*([:#]?[A-Za-z_]\w*|<>|<=|>=|[=<>(),+-])")
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

    sets: Sequence[tuple[str, Operand]]
    removes: Sequence[str]
    adds: Sequence[tuple[str, str]]

    def apply(self, old: Item, values: Mapping[str, Value]) -> Item:
        """The item after the update; ``old`` stays as it is."""
        new = dict(old)
        for name, operand in self.sets:
            value = operand(old, values)
            if value is None:
                raise NotUnderstood(f"{name} is set from an attribute that is not there")
            new[name] = value
        for name in self.removes:
            new.pop(name, None)
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
    sets: list[tuple[str, Operand]] = []
    removes: list[str] = []
    adds: list[tuple[str, str]] = []
    while reader.more():
        clause = reader.take()
        while True:
            if clause == "SET":
                name = reader.name()
                reader.expect("=")
                sets.append((name, reader.sum()))
            elif clause == "REMOVE":
                removes.append(reader.name())
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
        token = self.take()
        return self._names[token] if token.startswith("#") else token

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
                name = self.name()
                self.expect(")")
                return functools.partial(_exists, name, wanted)
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
        token = self.take()
        if token.startswith(":"):
            return lambda item, values: values[token]
        path = self._names[token] if token.startswith("#") else token
        if not re.fullmatch(r"\w+", path):
            raise NotUnderstood(self._text)
        return lambda item, values: item.get(path)


def _exists(name: str, wanted: bool, item: Item, values: Mapping[str, Value]) -> bool:
    return (name in item) is wanted


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
