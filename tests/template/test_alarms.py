"""Alarms: each watches a metric that is really there, and names the page that says what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.docs.reading import Document
from tests.template import watching

Json = dict[str, Any]
OPERATIONS = Document.read("docs/operations.md")
RUNBOOKS = Document.read("docs/runbooks.md")
NOT_OF_AN_ALARM = {"One grant by hand"}


@pytest.fixture
def alarms(plain: Json) -> dict[str, Json]:
    """By logical id."""
    return {
        name: resource["Properties"]
        for name, resource in plain["Resources"].items()
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    }


def watched(alarm: Json) -> Iterator[Json]:
    """The metrics of an alarm, whether it looks at one or at an expression of several."""
    if "MetricName" in alarm:
        yield alarm
    for part in alarm.get("Metrics", []):
        if "MetricStat" in part:
            yield part["MetricStat"]["Metric"]


def sections() -> list[str]:
    return re.findall(r"^## (.+)$", RUNBOOKS.text, re.MULTILINE)


def test_each_alarm_names_a_section_of_the_runbooks_that_names_it(alarms: dict[str, Json]) -> None:
    for name, alarm in alarms.items():
        cited = re.search(r"See docs/runbooks\.md, ([^.]+)\.$", alarm["AlarmDescription"])

        assert cited, name
        assert RUNBOOKS.section(cited[1]).text.strip().startswith(f"`{name}`: ")


def test_each_section_of_the_runbooks_has_its_alarm(alarms: dict[str, Json]) -> None:
    cited = [
        alarm["AlarmDescription"].rpartition("docs/runbooks.md, ")[2].rstrip(".")
        for alarm in alarms.values()
    ]

    assert sorted(cited) == sorted(set(sections()) - NOT_OF_AN_ALARM)


def test_each_section_says_where_to_look_what_to_do_and_when_it_is_over() -> None:
    for section in set(sections()) - NOT_OF_AN_ALARM:
        text = RUNBOOKS.section(section).text

        assert re.findall(r"^\* \*\*(\w+)\*\*", text, re.MULTILINE) == ["Look", "Do", "Over"]


def test_every_log_record_that_a_runbook_names_is_one() -> None:
    """What stands in code style with a space in it, and is no route, is a record."""
    folders = ("layers/linking/tiktok_linking", "functions")
    files = [file for folder in folders for file in (watching.ROOT / folder).rglob("*.py")]
    source = "".join(file.read_text("utf-8") for file in files)
    named = {code for code in RUNBOOKS.code() if re.fullmatch(r"[a-z]+( [a-z]+)+", code)}

    assert named
    assert {record for record in named if f'"{record}"' not in source} == set()


def test_each_alarm_watches_a_metric_that_the_code_or_aws_emits(
    plain: Json, alarms: dict[str, Json]
) -> None:
    variables = plain["Resources"]["RefreshFunction"]["Properties"]["Environment"]["Variables"]
    for name, alarm in alarms.items():
        metrics = list(watched(alarm))

        assert metrics, name
        for metric in metrics:
            dimensions = metric["Dimensions"]
            if isinstance(metric["Namespace"], str):
                known = watching.AWS_METRICS[metric["Namespace"], metric["MetricName"]]
                assert {one["Name"] for one in dimensions} == known, name
            else:
                assert metric["Namespace"] == variables["POWERTOOLS_METRICS_NAMESPACE"]
                values = frozenset((one["Name"], one["Value"]) for one in dimensions)
                assert (metric["MetricName"], values) in watching.counted(), name


def test_every_way_of_counting_is_tried() -> None:
    source = (watching.ROOT / "layers/linking/tiktok_linking/metrics.py").read_text("utf-8")

    assert set(re.findall(r"^def ([a-z]\w*)\(", source, re.MULTILINE)) == set(watching.EVERY_WAY)


def test_no_alarm_goes_off_because_nothing_happens(alarms: dict[str, Json]) -> None:
    assert {alarm["TreatMissingData"] for alarm in alarms.values()} == {"notBreaching"}


def test_every_alarm_tells_the_topic_if_there_is_one(alarms: dict[str, Json]) -> None:
    to_the_topic = {
        "Fn::If": ["HasAlarmTopic", [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]
    }
    for alarm in alarms.values():
        assert alarm["AlarmActions"] == alarm["OKActions"] == to_the_topic


def test_the_price_of_the_alarms_is_told_by_their_number(alarms: dict[str, Json]) -> None:
    """AWS asks for each metric that an alarm looks at."""
    number = sum(len(list(watched(alarm))) for alarm in alarms.values())

    assert f"watch {number} metrics" in OPERATIONS.section("Alarms").text


def test_every_queue_whose_letters_are_dead_has_its_alarm(
    plain: Json, alarms: dict[str, Json]
) -> None:
    dead = {
        name
        for name, resource in plain["Resources"].items()
        if resource["Type"] == "AWS::SQS::Queue" and name.endswith("DeadLetterQueue")
    }
    found = {
        queue
        for alarm in alarms.values()
        for metric in watched(alarm)
        if metric["MetricName"] == "ApproximateNumberOfMessagesVisible"
        for queue in re.findall(r"\w+DeadLetterQueue", str(metric["Dimensions"]))
    }

    assert found == dead
    waits = alarms["PairsAwaitRescueAlarm"]
    assert waits["MetricName"] == "ApproximateAgeOfOldestMessage"
    assert "RescueQueue" in str(waits["Dimensions"])


def test_those_that_nobody_waits_for_are_watched_for_throttles(
    plain: Json, alarms: dict[str, Json]
) -> None:
    in_the_background = {
        function
        for resource in plain["Resources"].values()
        if resource["Type"] == "AWS::Lambda::EventSourceMapping"
        for function in re.findall(r"\w+Function", str(resource["Properties"]["FunctionName"]))
    }
    alarm = alarms["WorkersThrottledAlarm"]

    assert {
        metric["Dimensions"][0]["Value"]["Ref"] for metric in watched(alarm)
    } == in_the_background
