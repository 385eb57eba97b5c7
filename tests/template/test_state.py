"""What must outlast a mistake: tables, keys, the secret, queues, the schedule."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from tiktok_linking import accounts, deadlines, renewal, unlinking
from tiktok_linking.adapters import records

DAY = 24 * 60 * 60


def test_the_accounts_table_survives_deletion_and_mistakes(template: dict[str, Any]) -> None:
    table = template["Resources"]["AccountsTable"]
    properties = table["Properties"]

    assert table["DeletionPolicy"] == table["UpdateReplacePolicy"] == "Retain"
    assert properties["DeletionProtectionEnabled"] == {"Ref": "DeletionProtection"}
    assert template["Parameters"]["DeletionProtection"]["Default"] == "true"
    assert properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}


def test_both_tables_are_encrypted_streamed_and_forget(template: dict[str, Any]) -> None:
    for name in ("AccountsTable", "SessionsTable"):
        properties = template["Resources"][name]["Properties"]
        assert properties["SSESpecification"] == {
            "SSEEnabled": True,
            "SSEType": "KMS",
            "KMSMasterKeyId": {"Fn::GetAtt": ["TablesKey", "Arn"]},
        }
        assert properties["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}
        assert properties["TimeToLiveSpecification"] == {"AttributeName": "ttl", "Enabled": True}
        assert properties["BillingMode"] == "PAY_PER_REQUEST"
        assert "TableName" not in properties


def test_tables_have_the_keys_and_indexes_that_the_code_asks_for(template: dict[str, Any]) -> None:
    table = template["Resources"]["AccountsTable"]["Properties"]
    sessions = template["Resources"]["SessionsTable"]["Properties"]
    indexes = {
        index["IndexName"]: (_keys(index["KeySchema"]), index["Projection"]["ProjectionType"])
        for index in table["GlobalSecondaryIndexes"]
    }

    assert _keys(table["KeySchema"]) == ("pk", "sk")
    assert _keys(sessions["KeySchema"]) == ("pk",)
    assert indexes == {
        "due": (("ds", "da"), "KEYS_ONLY"),
        "reminders": (("ns", "nd"), "KEYS_ONLY"),
        "ending": (("ej", "el"), "KEYS_ONLY"),
        "owner": (("ow", "os"), "ALL"),
        "listing": (("ls", "os"), "ALL"),
    }
    assert {a["AttributeName"]: a["AttributeType"] for a in table["AttributeDefinitions"]} == {
        "pk": "S",
        "sk": "S",
        "ds": "S",
        "da": "N",
        "ej": "S",
        "el": "N",
        "ow": "S",
        "ls": "S",
        "os": "S",
        "ns": "S",
        "nd": "S",
    }


def test_indexes_that_copy_everything_hold_no_grant() -> None:
    """Ciphertext would otherwise be read through an index, past the condition on attributes."""
    assert not {"ow", "os", "ls", "ns", "nd"} & set(records.GRANT_ATTRIBUTES)
    assert not {"ds", "da", "ej", "el"} & set(records.ACCOUNT_ATTRIBUTES)


def test_keys_rotate_stay_and_belong_to_the_account(template: dict[str, Any]) -> None:
    for name in ("SealingKey", "TablesKey"):
        key = template["Resources"][name]
        properties = key["Properties"]
        (statement,) = properties["KeyPolicy"]["Statement"]
        assert key["DeletionPolicy"] == key["UpdateReplacePolicy"] == "Retain"
        assert properties["EnableKeyRotation"] is True
        assert properties["PendingWindowInDays"] == 30
        assert statement["Principal"] == {
            "AWS": {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}
        }


def test_the_app_secret_is_created_empty(template: dict[str, Any]) -> None:
    """A generated value would look like a client secret; one from a parameter would be seen."""
    properties = template["Resources"]["AppSecret"]["Properties"]

    assert set(properties) == {"Description"}
    assert not [n for n, p in template["Parameters"].items() if "NoEcho" in p or "Secret" in n]


def test_no_output_gives_a_secret_away(template: dict[str, Any]) -> None:
    text = json.dumps(template["Outputs"])

    assert "{{resolve:" not in text
    assert "SecretString" not in text
    # The command asks for the secret: it stands neither in the output nor in the shell's history.
    command = template["Outputs"]["FillAppSecretCommand"]["Value"]["Fn::Sub"]
    assert "read -rs" in command
    assert "file:///dev/stdin" in command


def test_outputs_tell_a_team_what_it_needs(template: dict[str, Any]) -> None:
    outputs = template["Outputs"]

    assert {
        "ApiUrl",
        "RedirectUri",
        "CompletionMode",
        "AccountsTableName",
        "SessionsTableName",
        "EventBusName",
        "AppSecretArn",
        "FillAppSecretCommand",
        "BackendPolicyArn",
    } <= set(outputs)
    assert all(output["Description"] for output in outputs.values())
    assert outputs["RedirectUri"]["Value"]["Fn::Sub"][0] == "${Base}/callback"
    assert outputs["CompletionMode"]["Value"] == {"Ref": "Completion"}


def test_every_queue_is_encrypted_and_refuses_plaintext(plain: dict[str, Any]) -> None:
    queues = _of_type(plain, "AWS::SQS::Queue")
    (policy,) = _of_type(plain, "AWS::SQS::QueuePolicy").values()
    (statement,) = policy["PolicyDocument"]["Statement"]

    # SSE-SQS: an outage of KMS must not close the rescue queue.
    assert all(queue["SqsManagedSseEnabled"] is True for queue in queues.values())
    assert {queue["Ref"] for queue in policy["Queues"]} == set(queues)
    assert statement["Effect"] == "Deny"
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_every_queue_that_feeds_a_function_has_dead_letters(plain: dict[str, Any]) -> None:
    queues = _of_type(plain, "AWS::SQS::Queue")
    sources = {
        m["EventSourceArn"]["Fn::GetAtt"][0]
        for m in _of_type(plain, "AWS::Lambda::EventSourceMapping").values()
        if m["EventSourceArn"]["Fn::GetAtt"][1] == "Arn"
    }

    assert sources == {"RenewalQueue", "RevocationQueue", "RescueQueue"}
    for name in sources:
        target = queues[name]["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0]
        assert target == name.replace("Queue", "DeadLetterQueue")
        assert queues[target]["MessageRetentionPeriod"] == 14 * DAY


def test_both_streams_are_published_in_order_and_nothing_is_dropped_in_silence(
    plain: dict[str, Any],
) -> None:
    streams = {
        m["EventSourceArn"]["Fn::GetAtt"][0]: m
        for m in _of_type(plain, "AWS::Lambda::EventSourceMapping").values()
        if m["EventSourceArn"]["Fn::GetAtt"][1] == "StreamArn"
    }

    assert streams.keys() == {"AccountsTable", "SessionsTable"}
    for mapping in streams.values():
        assert mapping["FunctionName"] == {"Fn::GetAtt": ["PublishFunction", "Arn"]}
        assert mapping["StartingPosition"] == "TRIM_HORIZON"
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        # Until shortly before the stream itself forgets (24 h), and then told.
        assert mapping["MaximumRecordAgeInSeconds"] == 22 * 3600
        assert "MaximumRetryAttempts" not in mapping
        assert "ParallelizationFactor" not in mapping
        target = mapping["DestinationConfig"]["OnFailure"]["Destination"]
        assert target == {"Fn::GetAtt": ["PublishDeadLetterQueue", "Arn"]}
        (filtered,) = mapping["FilterCriteria"]["Filters"]
        assert json.loads(filtered["Pattern"]) == {
            "dynamodb": {"NewImage": {"ev": {"S": [{"exists": True}]}}}
        }


def test_events_are_archived(plain: dict[str, Any]) -> None:
    (archive,) = _of_type(plain, "AWS::Events::Archive").values()

    assert archive["SourceArn"] == {"Fn::GetAtt": ["EventBus", "Arn"]}
    assert archive["RetentionDays"] == {"Ref": "EventArchiveDays"}


def test_renewal_timing_holds_together(plain: dict[str, Any], functions: dict[str, Any]) -> None:
    """A message must not come back while its batch is at work, nor a batch outlast its function."""
    queue = _of_type(plain, "AWS::SQS::Queue")["RenewalQueue"]
    mapping = _mappings(plain)["RefreshFunction"]

    assert queue["VisibilityTimeout"] >= 6 * functions["refresh"]["Timeout"]
    assert queue["RedrivePolicy"]["maxReceiveCount"] == 5
    assert mapping["BatchSize"] == 10
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": {"Ref": "RenewalConcurrency"}}
    # Whoever waits for a renewal lives less long than the one who renews.
    assert functions["tokens"]["Timeout"] < functions["refresh"]["Timeout"]
    assert functions["unlink"]["Timeout"] < functions["refresh"]["Timeout"]


def test_an_unlink_is_over_before_others_look_after_it(
    plain: dict[str, Any], functions: dict[str, Any]
) -> None:
    """Who looks counts on it: whatever is left then, its function does not do any more."""
    queue = _of_type(plain, "AWS::SQS::Queue")["RevocationQueue"]
    mapping = _mappings(plain)["UnlinkFunction"]
    timeout = timedelta(seconds=functions["unlink"]["Timeout"])

    assert 2 * timeout < accounts.ENDING_TAKES
    assert timeout > unlinking.ERASING_TAKES
    assert timedelta(seconds=queue["VisibilityTimeout"]) >= 6 * timeout
    assert queue["RedrivePolicy"]["maxReceiveCount"] == 5
    assert mapping["BatchSize"] == 1  # a renewal and a revocation take most of its time
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 5}


def test_a_function_that_spends_has_time_to_save(functions: dict[str, Any]) -> None:
    """Else it would never start: it keeps the time for connecting, reading and saving free."""
    needed = deadlines.CONNECT_TIMEOUT + deadlines.SHORTEST_READ + deadlines.SAVE_BUDGET
    for name in ("refresh", "callback"):
        assert needed < timedelta(seconds=functions[name]["Timeout"]), name


def test_recovery_waits_until_a_rescued_pair_has_landed(
    plain: dict[str, Any], functions: dict[str, Any]
) -> None:
    """A replay before that could kill a pair that lies rescued."""
    queue = _of_type(plain, "AWS::SQS::Queue")["RescueQueue"]

    assert timedelta(seconds=queue["VisibilityTimeout"] + 20) == renewal.RECOVERY_WAIT
    assert functions["rescue"]["Timeout"] < queue["VisibilityTimeout"]


def test_rescue_tries_for_hours_one_pair_at_a_time(
    plain: dict[str, Any], functions: dict[str, Any]
) -> None:
    """Recovery of a grant waits for one visibility and 20 s: a try must be over by then."""
    queue = _of_type(plain, "AWS::SQS::Queue")["RescueQueue"]
    mapping = _mappings(plain)["RescueFunction"]

    assert functions["rescue"]["Timeout"] < queue["VisibilityTimeout"] == 10
    assert queue["RedrivePolicy"]["maxReceiveCount"] == 1000
    assert queue["MessageRetentionPeriod"] == 14 * DAY
    assert mapping["BatchSize"] == 1
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_the_schedule_plans_and_its_failures_are_kept(template: dict[str, Any]) -> None:
    refresh = template["Resources"]["RefreshFunction"]["Properties"]
    (schedule,) = [e["Properties"] for e in refresh["Events"].values()]
    kept = {"Fn::GetAtt": ["ScheduleDeadLetterQueue", "Arn"]}

    assert json.loads(schedule["Input"]) == {}
    assert schedule["FlexibleTimeWindow"] == {"Mode": "OFF"}
    assert schedule["OmitName"] is True  # a fixed name would collide with a second stack's
    assert schedule["DeadLetterConfig"] == {"Arn": kept}
    assert refresh["EventInvokeConfig"]["DestinationConfig"]["OnFailure"]["Destination"] == kept
    assert refresh["EventInvokeConfig"]["MaximumRetryAttempts"] == 0


def test_no_event_outlives_the_next_one(template: dict[str, Any]) -> None:
    refresh = template["Resources"]["RefreshFunction"]["Properties"]
    (schedule,) = [e["Properties"] for e in refresh["Events"].values()]
    shortest_interval_seconds = 2 * 60  # rate(2 minutes), see test_parameters.py

    assert schedule["RetryPolicy"]["MaximumEventAgeInSeconds"] < shortest_interval_seconds
    assert refresh["EventInvokeConfig"]["MaximumEventAgeInSeconds"] < shortest_interval_seconds


def test_the_daily_run_is_repeated_within_its_day_and_its_failures_are_kept(
    template: dict[str, Any],
) -> None:
    remind = template["Resources"]["RemindFunction"]["Properties"]
    (schedule,) = [e["Properties"] for e in remind["Events"].values()]
    kept = {"Fn::GetAtt": ["ScheduleDeadLetterQueue", "Arn"]}
    asynchronous = remind["EventInvokeConfig"]

    assert schedule["ScheduleExpression"] == "rate(1 day)"
    assert json.loads(schedule["Input"]) == {}
    assert schedule["OmitName"] is True
    assert schedule["DeadLetterConfig"] == {"Arn": kept}
    assert schedule["RetryPolicy"]["MaximumEventAgeInSeconds"] < DAY
    assert asynchronous["DestinationConfig"]["OnFailure"]["Destination"] == kept
    assert asynchronous["MaximumRetryAttempts"] == 2
    assert asynchronous["MaximumEventAgeInSeconds"] < DAY


def test_what_has_a_fixed_name_is_named_by_the_stack(plain: dict[str, Any]) -> None:
    """Two stacks must fit into one account and region."""
    names = ("FunctionName", "QueueName", "TableName", "RoleName", "LogGroupName", "Name")
    fixed = [
        (logical_id, name)
        for logical_id, resource in plain["Resources"].items()
        for name in names
        if isinstance(resource["Properties"].get(name), str)
    ]

    assert fixed == []
    assert plain["Resources"]["EventBus"]["Properties"]["Name"] == {"Ref": "AWS::StackName"}
    assert "Name" not in plain["Resources"]["RefreshFunctionPlan"]["Properties"]


def _of_type(plain: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    return {n: r["Properties"] for n, r in plain["Resources"].items() if r["Type"] == kind}


def _mappings(plain: dict[str, Any]) -> dict[str, dict[str, Any]]:
    mappings = _of_type(plain, "AWS::Lambda::EventSourceMapping").values()
    return {mapping["FunctionName"]["Fn::GetAtt"][0]: mapping for mapping in mappings}


def _keys(schema: list[dict[str, str]]) -> tuple[str, ...]:
    return tuple(key["AttributeName"] for key in schema)
