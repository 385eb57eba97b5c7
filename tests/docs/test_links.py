"""Links lead somewhere, files that are named exist, and no document knows somebody's machine."""

from __future__ import annotations

import re

import pytest

from tests.docs.reading import ROOT, Document, documents

DOCUMENTS = documents()
by_name = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)


@by_name
def test_links_between_documents_resolve(document: Document) -> None:
    broken = []
    for link in document.links():
        if link.startswith(("https://", "http://127.0.0.1")):
            continue
        target, _, anchor = link.partition("#")
        path = (document.path.parent / target).resolve() if target else document.path
        if path.is_dir():
            continue
        if not path.is_file() or (anchor and anchor not in Document.at(path).anchors()):
            broken.append(link)

    assert broken == []


@by_name
def test_files_that_are_named_exist(document: Document) -> None:
    places = re.compile(
        r"(local|layers|functions|tests|docs|events|benchmarks|requirements)(/[\w.-]+)+"
    )
    named = [code for code in document.code() if places.fullmatch(code)]

    assert [name for name in named if not (ROOT / name).exists()] == []


@by_name
def test_pictures_are_light_and_told_in_words(document: Document) -> None:
    for words, target in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", document.text):
        picture = (document.path.parent / target).read_bytes()

        assert picture.startswith(b"\x89PNG"), target
        assert len(picture) < 120_000, target
        assert len(words) > 40, target


@by_name
def test_no_path_of_one_machine_is_mentioned(document: Document) -> None:
    found = re.findall(r"(?:/work|/root|/home/\w+|/tmp|/Users/\w+)/\S*", document.text)

    assert found == []


def test_documents_that_the_code_names_exist() -> None:
    sources = [ROOT / "template.yaml", ROOT / "openapi.yaml", ROOT / "Makefile"]
    for folder in ("layers", "functions", "local"):
        sources += (ROOT / folder).rglob("*.py")
        sources += (ROOT / folder).rglob("*.sh")

    missing = {
        (str(source.relative_to(ROOT)), name)
        for source in sources
        for name in re.findall(r"\bdocs/[\w/-]+\.md", source.read_text(encoding="utf-8"))
        if not (ROOT / name).is_file()
    }

    assert missing == set()


def test_the_readme_leads_to_every_document() -> None:
    readme = Document.read("README.md")
    linked = {link.partition("#")[0] for link in readme.links()}
    index = {f"docs/decisions/{link}" for link in Document.read("docs/decisions/README.md").links()}

    names = {document.name for document in DOCUMENTS} - {"README.md", "docs/faults.md"}
    assert names - linked - index == set()
