"""What the package's own source may not do, wherever it is: found by reading it."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import tiktok_linking

PACKAGE = Path(tiktok_linking.__file__).parent
CLOCKS = {"datetime": {"now", "utcnow", "today"}, "date": {"today"}, "time": {"time", "time_ns"}}


def modules_in_which(found: Callable[[ast.AST], bool]) -> set[str]:
    """The modules of the package that hold such a piece of code."""
    return {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if any(found(node) for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    }


def imports(*names: str) -> Callable[[ast.AST], bool]:
    def found(node: ast.AST) -> bool:
        if isinstance(node, ast.Import):
            return any(alias.name in names for alias in node.names)
        return isinstance(node, ast.ImportFrom) and node.module in names

    return found


def reads_a_clock(node: ast.AST) -> bool:
    """`datetime.now(…)`, `time.time()` and their like; a monotonic clock tells no time of day."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr=name)):
            return name in CLOCKS.get(owner, ())
    return False


def test_what_guards_something_is_made_by_secrets() -> None:
    """The two modules draw jitter: pauses between tries, and nothing that may not be guessed."""
    assert modules_in_which(imports("random")) == {"bootstrap.py", "adapters/dynamodb.py"}
    assert modules_in_which(imports("uuid")) == set()
    assert {"sessions.py", "linking.py", "requesting.py"} <= modules_in_which(imports("secrets"))


def test_the_time_enters_at_one_place() -> None:
    """So that every expiry can be tested by moving a clock, and no two clocks are compared."""
    assert modules_in_which(reads_a_clock) == {"bootstrap.py"}
