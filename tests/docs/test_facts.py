"""Facts about TikTok have sources, decisions have a price, and no scope is made up."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.reading import ROOT, Document, documents

TIKTOK = Document.read("docs/tiktok.md")
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))

REAL_SCOPES = {
    "user.info.basic",
    "user.info.profile",
    "user.info.stats",
    "video.list",
    "video.upload",
    "video.publish",
}
MADE_UP_SCOPES = {"comment.read.public", "video.create"}
_SCOPE = re.compile(r"(?<![\w.])(?:user\.info|video|comment)\.[a-z_]+(?:\.[a-z_]+)*(?![\w(])")


def _sources() -> dict[str, list[str]]:
    return {row[0]: list(row[1:]) for row in TIKTOK.section("Sources").rows()}


def test_every_source_has_a_place_and_a_date() -> None:
    for tag, (page, dated, read) in _sources().items():
        assert "](https://" in page or "found by searching" in page, tag
        assert dated, tag
        assert re.fullmatch(r"20\d\d-\d\d", read), tag


@pytest.mark.parametrize(
    "heading",
    [
        "Authorisation",
        "Redirect URIs and PKCE",
        "Coming back",
        "Tokens",
        "Revoking",
        "User info",
        "Scopes",
        "Webhooks",
        "Sandbox, review, kinds of accounts",
    ],
)
def test_every_fact_about_tiktok_names_sources_that_are_listed(heading: str) -> None:
    known = set(_sources())
    for row in TIKTOK.section(heading).rows():
        tags = row[2].split()

        assert tags, row[0]
        assert set(tags) <= known, row[0]


def test_every_source_is_used() -> None:
    used = set(re.findall(r"\b[NOSLF]\d+\b", TIKTOK.text.partition("## Authorisation")[2]))

    assert set(_sources()) - used == set()


@pytest.mark.parametrize("document", documents(), ids=lambda document: document.name)
def test_only_scopes_that_exist_are_named(document: Document) -> None:
    for line in document.text.splitlines():
        found = set(_SCOPE.findall(line))
        if "not exist" in line:
            found -= MADE_UP_SCOPES

        assert found <= REAL_SCOPES, line


def test_the_readme_tells_of_scopes_that_do_not_exist() -> None:
    scopes = Document.read("README.md").section("Scopes").text

    assert all(scope in scopes for scope in REAL_SCOPES | MADE_UP_SCOPES)


def test_decisions_are_numbered_and_indexed_without_a_gap() -> None:
    index = Document.read("docs/decisions/README.md")

    assert [path.name[:3] for path in DECISIONS] == [f"{n + 1:03}" for n in range(len(DECISIONS))]
    assert list(index.links()) == [path.name for path in DECISIONS]


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_says_context_choice_and_price(path: Path) -> None:
    decision = Document.at(path)
    headings = re.findall(r"^## (.+)$", decision.text, re.MULTILINE)

    assert decision.text.startswith(f"# {path.name[:3]} ")
    assert headings == ["Context", "Choice", "Price"]
