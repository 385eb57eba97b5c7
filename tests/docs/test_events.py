"""docs/events.md: every type is told, the example fits, and its templates are sound."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.reading import ROOT, Document
from tests.fakes.outbox import SCHEMAS, check
from tiktok_linking.events import SOURCE, EventType

EVENTS = Document.read("docs/events.md")
TEXT = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
TEMPLATES = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


def test_every_type_is_told() -> None:
    told = [row[0].strip("`") for row in EVENTS.section("What is sent when").rows()]

    assert told == [type.value for type in EventType]


def test_what_nobody_sends_yet_is_said() -> None:
    """Their schemas are there before their senders."""
    senders = (ROOT / "layers/linking/tiktok_linking/publishing.py").read_text(encoding="utf-8")
    of_sessions = {type for type in EventType if type.startswith("link_session.")}  # by their mark
    unsent = {t for t in EventType if f"EventType.{t.name}" not in senders} - of_sessions
    told = {
        row[0].strip("`")
        for row in EVENTS.section("What is sent when").rows()
        if "not sent yet" in row[1]
    }

    assert told == unsent == set()


def test_the_example_is_one() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)

    check("account.relink_required", json.loads(example))


@pytest.mark.parametrize("number", range(len(TEMPLATES)))
def test_a_template_in_the_text_is_sound(number: int, tmp_path: Path) -> None:
    file = tmp_path / "template.yaml"
    file.write_text(TEMPLATES[number], encoding="utf-8")

    run = subprocess.run(
        [Path(sys.executable).with_name("cfn-lint"), "--regions", "us-east-1", "--", file],
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stdout
    assert f"source: [{SOURCE}]" in TEMPLATES[number]


@pytest.mark.parametrize("type", EventType)
def test_every_field_of_a_schema_is_described(type: EventType) -> None:
    schema = json.loads((SCHEMAS / f"{type}.json").read_text(encoding="utf-8"))

    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["additionalProperties"] is False
    assert schema["title"]
    assert schema["description"].endswith(".")
    for name, field in schema["properties"].items():
        assert field["description"].endswith("."), name
