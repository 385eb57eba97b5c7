"""Alarms: each watches a metric that is really there, and names the page that says what to do."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.docs.reading import Document

Json = dict[str, Any]
OPERATIONS = Document.read("docs/operations.md")
OF_AWS = ("AWS/SQS", "AWS/Lambda")


@pytest.fixture
def alarms(plain: Json) -> dict[str, Json]:
    """By logical id."""
    return {
        name: resource["Properties"]
        for name, resource in plain["Resources"].items()
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    }


def test_each_alarm_has_its_row_in_the_runbook(alarms: dict[str, Json]) -> None:
    told = {row[0].strip("`") for row in OPERATIONS.section("Alarms").rows()}

    assert told == set(alarms)
    for alarm in alarms.values():
        assert "docs/operations.md, Alarms" in alarm["AlarmDescription"]


def test_each_of_our_metrics_is_one_that_the_code_counts(alarms: dict[str, Json]) -> None:
    told = {
        name
        for row in OPERATIONS.section("Metrics").rows()
        for name in re.findall(r"`(\w+)`", row[0])
    }
    ours = {a["MetricName"] for a in alarms.values() if a["Namespace"] not in OF_AWS}

    assert ours <= told


def test_our_alarms_look_where_the_functions_count(plain: Json, alarms: dict[str, Json]) -> None:
    function = plain["Resources"]["RefreshFunction"]["Properties"]
    namespace = function["Environment"]["Variables"]["POWERTOOLS_METRICS_NAMESPACE"]
    for alarm in alarms.values():
        if alarm["Namespace"] not in OF_AWS:
            assert alarm["Namespace"] == namespace
            assert {"Name": "service", "Value": "refresh"} in alarm["Dimensions"]


def test_no_alarm_goes_off_because_nothing_happens(alarms: dict[str, Json]) -> None:
    assert {alarm["TreatMissingData"] for alarm in alarms.values()} == {"notBreaching"}


@pytest.mark.parametrize(
    ("name", "queue", "metric"),
    [
        ("PairsAwaitRescueAlarm", "RescueQueue", "ApproximateAgeOfOldestMessage"),
        (
            "PairsLostToRescueAlarm",
            "RescueDeadLetterQueue",
            "ApproximateNumberOfMessagesVisible",
        ),
        (
            "RenewalDeadLettersAlarm",
            "RenewalDeadLetterQueue",
            "ApproximateNumberOfMessagesVisible",
        ),
        (
            "PublishDeadLettersAlarm",
            "PublishDeadLetterQueue",
            "ApproximateNumberOfMessagesVisible",
        ),
        ("EventsLateAlarm", "PublishFunction", "IteratorAge"),
    ],
)
def test_the_queues_that_hold_the_only_copy_are_watched(
    alarms: dict[str, Json], name: str, queue: str, metric: str
) -> None:
    alarm = alarms[name]

    assert alarm["MetricName"] == metric
    assert queue in str(alarm["Dimensions"])
