"""Secrets are compared in constant time: every `==` on something that sounds like one is known."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_SOUNDS_SECRET = re.compile(
    r"hash|signature|secret|cookie|nonce|proof|completion_code|digest|fingerprint|reveal|token\b"
    r"|\.get\('(?:fp|ph|pn|c|m|it)'\)",
    re.IGNORECASE,
)
# Comparisons of that kind that may stop at the first difference, and why.
KNOWN = {
    "len(secret) != 43": "a length, before any look-up",
    "k not in ('link_session', 'error', 'completion_code')": "names of parameters",
    "grant.intent != grant.pair.fingerprint": "both are ours, out of one row",
    "failed.old.get('fp') == grant.pair.fingerprint": "both are ours, out of one row",
    "candidate.client_secret.reveal() not in self._tried": "our own secrets among themselves",
}
COMPARES = {"hmac", "secrets"}


def sources() -> Iterator[tuple[Path, ast.Module]]:
    for folder in ("layers/linking/tiktok_linking", "functions"):
        for file in (ROOT / folder).rglob("*.py"):
            yield file, ast.parse(file.read_text(encoding="utf-8"))


def suspicious(tree: ast.Module) -> Iterator[str]:
    """Comparisons by value of what has a telling name; `is None` and presence are none."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Compare):
            continue
        by_value = (ast.Eq, ast.NotEq, ast.In, ast.NotIn)
        text = ast.unparse(node)
        presence = re.fullmatch(r"'\w+' (not )?in failed\.old", text)
        if (
            any(isinstance(operator, by_value) for operator in node.ops)
            and not presence
            and _SOUNDS_SECRET.search(text)
        ):
            yield text


def test_every_comparison_that_sounds_like_a_secret_is_constant_in_time_or_known() -> None:
    found = {text for _, tree in sources() for text in suspicious(tree)}

    assert found == set(KNOWN)


def test_a_careless_comparison_would_be_found() -> None:
    careless = [
        "session.page_nonce == nonce",
        "if made != self.digest: pass",
        "ok = secret_hash(cookie) in hashes",
        "code.reveal() == stored",
        "item.get('ph') == given",
    ]

    for text in careless:
        assert list(suspicious(ast.parse(text))), text


def test_ciphers_and_digests_come_from_libraries_and_chance_from_the_system() -> None:
    """S69, S2: nothing of our own making, and no `random` or UUID where a secret is drawn."""
    imported: dict[str, set[str]] = {}
    for file, tree in sources():
        for node in ast.walk(tree):
            for name in names_imported(node):
                imported.setdefault(name.partition(".")[0], set()).add(file.stem)

    assert imported["cryptography"] == {"sealing"}
    assert "uuid" not in imported
    assert imported["random"] <= {"bootstrap", "dynamodb"}, "they spread repeats"


def names_imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def test_whatever_people_send_as_a_secret_meets_compare_digest() -> None:
    """S68, by place: where each of them is compared."""
    places = {
        (file.name, function.name)
        for file, tree in sources()
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute)
        and node.attr == "compare_digest"
        and isinstance(node.value, ast.Name)
        and node.value.id in COMPARES
    }

    assert places == {
        ("app.py", "_came_through_page"),  # the proof that this browser was shown the page
        ("linking.py", "_is_same_user"),
        ("session_table.py", "_why_not_started"),  # the page's nonce
        ("session_table.py", "claim"),  # the completion code's hash
        ("session_table.py", "consume"),  # the binding cookie's hash
        ("session_table.py", "create"),  # a repeated request's body
        ("session_table.py", "park"),  # whether a parked code is the one of our own write
        ("sessions.py", "_is_among"),  # cookies
        ("sessions.py", "completion_code_of"),
        ("webhook.py", "is_by"),  # TikTok's signature
    }
