"""The dashboard shows metrics that are counted and fields that are logged; so do the queries."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.docs.reading import Document
from tests.template import insights, watching

Json = dict[str, Any]
QUERIES = Document.read("docs/queries.md")
OURS = "TikTokLink/${AWS::StackName}"


@pytest.fixture
def widgets(plain: Json) -> list[Json]:
    body = plain["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    found: list[Json] = json.loads(body)["widgets"]
    return found


def metrics(widgets: list[Json]) -> list[list[str]]:
    """Namespace, name, and dimensions one after the other, without how they are drawn."""
    return [
        [part for part in metric if isinstance(part, str)]
        for widget in widgets
        if widget["type"] == "metric"
        for metric in widget["properties"]["metrics"]
    ]


def test_every_metric_on_the_dashboard_is_one_that_the_code_or_aws_emits(
    widgets: list[Json],
) -> None:
    for namespace, name, *dimensions in metrics(widgets):
        pairs = dict(zip(dimensions[::2], dimensions[1::2], strict=True))
        if namespace == OURS:
            assert (name, frozenset(pairs.items())) in watching.counted(), name
        else:
            assert set(pairs) == watching.AWS_METRICS[namespace, name]


def test_every_metric_that_an_alarm_watches_can_be_seen(plain: Json, widgets: list[Json]) -> None:
    shown = {name for _, name, *_ in metrics(widgets)}
    watched = re.findall(r"'MetricName': '(\w+)'", str(plain["Resources"]))

    assert watched
    assert set(watched) - shown == set()


def test_what_the_dashboard_refers_to_is_in_the_stack(plain: Json, widgets: list[Json]) -> None:
    named = set(re.findall(r"\$\{(\w+)[.}]", json.dumps(widgets)))

    assert named - plain["Resources"].keys() - {"AWS"} == set()


def test_the_widgets_do_not_lie_on_each_other(widgets: list[Json]) -> None:
    places = {
        (x, y)
        for widget in widgets
        for x in range(widget["x"], widget["x"] + widget["width"])
        for y in range(widget["y"], widget["y"] + widget["height"])
    }

    assert len(places) == sum(widget["width"] * widget["height"] for widget in widgets)
    assert max(x for x, _ in places) < 24


def test_every_field_that_the_dashboard_asks_the_logs_for_is_logged(widgets: list[Json]) -> None:
    queries = [w["properties"]["query"] for w in widgets if w["type"] == "log"]

    assert queries
    for query in queries:
        assert insights.fields_of(query) - insights.logged() == set(), query


@pytest.mark.parametrize("query", QUERIES.blocks("text"))
def test_every_field_and_message_of_a_query_in_the_documents_is_logged(query: str) -> None:
    folders = ("layers/linking/tiktok_linking", "functions")
    files = [file for folder in folders for file in (watching.ROOT / folder).rglob("*.py")]
    source = "".join(file.read_text("utf-8") for file in files)

    assert insights.fields_of(query)
    assert insights.fields_of(query) - insights.logged() == set()
    assert {text for text in insights.messages_of(query) if f'"{text}"' not in source} == set()
