"""docs/cli.md says of each command what its --help says, and its examples can be typed."""

from __future__ import annotations

import argparse
import re
import shlex

import pytest

from tests.docs.reading import Document
from tiktok_link_cli.main import parser

CLI = Document.read("docs/cli.md")
WHERE = {"--stack", "--local", "--region", "--profile", "--json"}


def commands(
    of: argparse.ArgumentParser, name: tuple[str, ...] = ()
) -> dict[str, argparse.ArgumentParser]:
    """Every command that does something, by the words that are typed."""
    for action in of._actions:
        if isinstance(action, argparse._SubParsersAction):
            return {
                words: found
                for word, inner in action.choices.items()
                for words, found in commands(inner, (*name, word)).items()
            }
    return {" ".join(name): of}


COMMANDS = commands(parser())


def test_there_is_a_section_for_each_command_and_for_no_other() -> None:
    headings = re.findall(r"^## (.+)$", CLI.text, re.MULTILINE)

    assert [h for h in headings if h not in ("Where", "Rights")] == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_options_told_are_those_of_the_help(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args([*name.split(), "--help"])
    said = capsys.readouterr().out
    helped = set(re.findall(r"^  (--[a-z-]+)", said, re.MULTILINE)) - WHERE
    positional = re.search(r"^positional arguments:\n  (\S+)", said, re.MULTILINE)
    if positional:
        helped |= set(positional[1].strip("{}").split(","))
    rows = CLI.section(name).rows()
    told = {word for row in rows for word in re.findall(r"`([^`]+)`", row[0])}

    assert told == helped
    assert "examples:\n  tiktok-link " in said


def test_what_all_commands_take_is_told_once() -> None:
    told = {row[0].strip("`") for row in CLI.section("Where").rows()}

    assert told == WHERE


def test_every_command_line_in_the_documents_can_be_typed() -> None:
    typed = [
        line.removeprefix("$ ")
        for block in CLI.blocks("text")
        for line in block.splitlines()
        if line.startswith("$ ")
    ]

    assert len(typed) >= len(COMMANDS) - 1
    for line in typed:
        assert parser().parse_args(shlex.split(line)[1:]).run
