"""Commands in the documents name targets, programs and modules that exist."""

from __future__ import annotations

import importlib.util
import re

import pytest

from tests.docs.reading import ROOT, Document, documents

DOCUMENTS = documents()
by_name = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
# What the commands use beyond this repository and what make installs.
PROGRAMS = {"make", "curl", "aws", "echo"}


def _commands(document: Document) -> list[str]:
    lines = [line.strip() for block in document.blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line]


@by_name
def test_targets_of_make_exist(document: Document) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    said = [*_commands(document), *document.code()]
    used = {m[1] for text in said if (m := re.match(r"make ([a-z-]+)", text))}

    assert used - targets == set()


@by_name
def test_commands_begin_with_a_program_that_is_there(document: Document) -> None:
    for command in _commands(document):
        # Variables before a program belong to it.
        program = re.sub(r"^(?:[A-Z_]+=[^\s$(]+ +)+(?=[a-z./])", "", command).split()[0]
        if re.match(r"[A-Z_]+=", program) or program.endswith("()") or program == "call":
            continue  # an assignment, or a function that the block itself defines

        # Whether the environments are there yet does not matter to the documents.
        in_environment = re.fullmatch(r"\.venv(-sam|-aws)?/bin/[\w-]+", program)
        assert program in PROGRAMS or in_environment, command


@by_name
def test_modules_that_are_run_exist(document: Document) -> None:
    for module in re.findall(r"python -m ([\w.]+)", document.text):
        assert importlib.util.find_spec(module), module
