"""Who may do what: one role for each function, and the table of powers of design and architecture.

The emulators cannot show these: MiniStack ignores dynamodb:LeadingKeys and kms:EncryptionContext,
moto knows no resource. So the whole of each role is compared with a list written out here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tiktok_linking.adapters import records, sealing

LOGS = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
THROUGH_DYNAMODB = {
    "StringEquals": {
        "kms:ViaService": {"Fn::Sub": "dynamodb.${AWS::Region}.${AWS::URLSuffix}"},
    }
}
TABLES_KEY = {
    (f"kms:{verb}", "TablesKey") for verb in ("Decrypt", "GenerateDataKey", "DescribeKey")
}
# Every power of every function: (action, what it is on).
POWERS: dict[str, set[tuple[str, str]]] = {
    "authorize": {
        ("dynamodb:GetItem", "SessionsTable"),
        ("dynamodb:UpdateItem", "SessionsTable"),
    },
    "callback": {
        ("dynamodb:UpdateItem", "SessionsTable"),
        ("dynamodb:UpdateItem", "AccountsTable"),
        ("dynamodb:GetItem", "AccountsTable"),
        ("dynamodb:PutItem", "AccountsTable"),
        ("kms:GenerateDataKey", "SealingKey"),
        ("kms:Decrypt", "SealingKey"),
        ("secretsmanager:GetSecretValue", "AppSecret"),
        ("sqs:SendMessage", "RescueQueue"),
    },
    "sessions": {
        ("dynamodb:PutItem", "SessionsTable"),
        ("dynamodb:GetItem", "SessionsTable"),
        ("dynamodb:UpdateItem", "SessionsTable"),
        ("dynamodb:BatchGetItem", "AccountsTable"),
    },
    "accounts": {
        ("dynamodb:Query", "AccountsTable"),
        ("dynamodb:Query", "AccountsTable/index/owner"),
        ("dynamodb:Query", "AccountsTable/index/listing"),
        ("dynamodb:BatchGetItem", "AccountsTable"),
        ("dynamodb:UpdateItem", "AccountsTable"),
    },
    "tokens": {
        ("dynamodb:Query", "AccountsTable"),
        ("dynamodb:UpdateItem", "AccountsTable"),
        ("dynamodb:GetItem", "AccountsTable"),
        ("kms:Decrypt", "SealingKey"),
        ("lambda:InvokeFunction", "RefreshFunction"),
    },
    "unlink": {
        ("dynamodb:Query", "AccountsTable"),
        ("dynamodb:UpdateItem", "AccountsTable"),
        ("dynamodb:GetItem", "AccountsTable"),
        ("kms:Decrypt", "SealingKey"),
        ("secretsmanager:GetSecretValue", "AppSecret"),
        ("lambda:InvokeFunction", "RefreshFunction"),
    },
    "webhook": {
        ("dynamodb:UpdateItem", "AccountsTable"),
        ("secretsmanager:GetSecretValue", "AppSecret"),
    },
    "refresh": {
        ("dynamodb:Query", "AccountsTable/index/due"),
        ("dynamodb:GetItem", "AccountsTable"),
        ("dynamodb:BatchGetItem", "AccountsTable"),
        ("dynamodb:UpdateItem", "AccountsTable"),
        ("dynamodb:PutItem", "AccountsTable"),
        ("kms:GenerateDataKey", "SealingKey"),
        ("kms:Decrypt", "SealingKey"),
        ("secretsmanager:GetSecretValue", "AppSecret"),
        ("sqs:SendMessage", "RenewalQueue"),
        ("sqs:ReceiveMessage", "RenewalQueue"),
        ("sqs:DeleteMessage", "RenewalQueue"),
        ("sqs:GetQueueAttributes", "RenewalQueue"),
        ("sqs:SendMessage", "RescueQueue"),
        ("sqs:GetQueueAttributes", "RescueQueue"),
        ("sqs:SendMessage", "ScheduleDeadLetterQueue"),
    },
    "rescue": {
        ("dynamodb:UpdateItem", "AccountsTable"),
        ("dynamodb:UpdateItem", "SessionsTable"),
        ("sqs:ReceiveMessage", "RescueQueue"),
        ("sqs:DeleteMessage", "RescueQueue"),
        ("sqs:GetQueueAttributes", "RescueQueue"),
    },
}
PURPOSES = {
    "callback": {"access", "refresh", "parked_code"},
    "tokens": {"access"},
    "unlink": {"access"},
    "refresh": {"access", "refresh"},
}
# What reads the accounts table without ciphertext, by statement.
WITHOUT_CIPHERTEXT = {
    "sessions": ["ReadAccountsWithoutCiphertext"],
    "accounts": ["ReadGrantsAndAccountsWithoutCiphertext"],
}
# Items of the accounts table that hold wrapped data keys, which some may read or make and no more.
WRAPPED_KEYS = {
    ("callback", "ReadAndMakeWrappedDataKeys"): ("ForAllValues:StringLike", ["key#*"]),
    ("refresh", "MakeWrappedDataKeys"): ("ForAllValues:StringLike", ["key#*"]),
    ("tokens", "ReadWrappedAccessKeys"): ("ForAllValues:StringEquals", ["key#access"]),
    ("unlink", "ReadWrappedAccessKeys"): ("ForAllValues:StringEquals", ["key#access"]),
}

Statement = dict[str, Any]


@pytest.mark.parametrize("name", POWERS)
def test_a_function_may_do_this_and_nothing_else(plain: dict[str, Any], name: str) -> None:
    granted = {power for s in _statements(plain, name) for power in _powers(s)}

    assert granted == POWERS[name] | TABLES_KEY
    assert _role(plain, name)["ManagedPolicyArns"] == [LOGS]


def test_every_function_has_a_role_of_its_own(plain: dict[str, Any]) -> None:
    roles = [
        json.dumps(r["Properties"]["Role"])
        for r in plain["Resources"].values()
        if r["Type"] == "AWS::Lambda::Function"
    ]

    assert len(set(roles)) == len(roles) == len(POWERS)


def test_no_role_has_a_wildcard(plain: dict[str, Any]) -> None:
    """Neither action nor resource, in the functions' roles and in the scheduler's."""
    for statement in _all_statements(plain):
        assert statement["Effect"] == "Allow"
        assert not {"NotAction", "NotResource"} & statement.keys()
        for action in _listed(statement["Action"]):
            assert "*" not in action
        for resource in _listed(statement["Resource"]):
            assert "*" not in json.dumps(resource)


def test_every_statement_of_ours_says_what_for(template: dict[str, Any]) -> None:
    for resource in template["Resources"].values():
        for policy in resource["Properties"].get("Policies", []):
            sids = [statement["Sid"] for statement in policy["Statement"]]
            assert all(sids)
            assert len(set(sids)) == len(sids)


@pytest.mark.parametrize("name", POWERS)
def test_the_tables_key_is_reached_through_dynamodb_alone(plain: dict[str, Any], name: str) -> None:
    (statement,) = [s for s in _statements(plain, name) if _is_on(s, "TablesKey")]

    assert statement["Condition"] == THROUGH_DYNAMODB


@pytest.mark.parametrize("name", POWERS)
def test_the_sealing_key_is_bound_to_a_purpose(plain: dict[str, Any], name: str) -> None:
    """IAM gives one data key without the others: tokens and unlink open no refresh token."""
    statements = [s for s in _statements(plain, name) if _is_on(s, "SealingKey")]

    assert bool(statements) is (name in PURPOSES)
    for statement in statements:
        (condition,) = statement["Condition"].items()
        assert condition[0] == "StringEquals"
        purposes = condition[1].pop("kms:EncryptionContext:purpose")
        assert set(_listed(purposes)) == PURPOSES[name]
        assert condition[1] == {"kms:EncryptionContext:service": sealing.SERVICE}


@pytest.mark.parametrize(
    ("name", "sid"), [(n, s) for n, sids in WITHOUT_CIPHERTEXT.items() for s in sids]
)
def test_readers_without_the_key_get_no_ciphertext(
    plain: dict[str, Any], name: str, sid: str
) -> None:
    """Only named attributes may be asked for, and they are what records.py calls shown."""
    condition = statement_of(plain, name, sid)["Condition"]

    assert condition["StringEquals"] == {"dynamodb:Select": "SPECIFIC_ATTRIBUTES"}
    assert set(condition["ForAllValues:StringEquals"]["dynamodb:Attributes"]) == set(
        records.SHOWN_ATTRIBUTES
    )
    assert not set(records.SHOWN_ATTRIBUTES) & set(records.CIPHERTEXT)


def test_functions_without_the_sealing_key_read_the_accounts_table_no_other_way(
    plain: dict[str, Any],
) -> None:
    reading = {"dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:Query", "dynamodb:Scan"}
    for name in POWERS.keys() - PURPOSES.keys():
        readers = [
            s["Sid"]
            for s in _statements(plain, name)
            if _is_on(s, "AccountsTable") and reading & set(_listed(s["Action"]))
        ]
        assert readers == WITHOUT_CIPHERTEXT.get(name, []), name


@pytest.mark.parametrize(
    ("name", "sid"),
    [("accounts", "ChangeMetadataAndMode"), ("tokens", "MarkUseAndPassedDeadline")],
)
def test_marks_touch_no_ciphertext_and_return_none(
    plain: dict[str, Any], name: str, sid: str
) -> None:
    condition = statement_of(plain, name, sid)["Condition"]
    attributes = condition["ForAllValues:StringEquals"]["dynamodb:Attributes"]

    assert not set(attributes) & set(records.CIPHERTEXT)
    assert set(attributes) < set(records.SHOWN_ATTRIBUTES)
    assert condition["StringEqualsIfExists"]["dynamodb:ReturnValues"] == [
        "NONE",
        "UPDATED_OLD",
        "UPDATED_NEW",
    ]


def test_the_webhook_returns_no_item_and_touches_no_data_key(plain: dict[str, Any]) -> None:
    """It names the ciphertext in order to delete it; nothing of the people, nothing of a key."""
    condition = statement_of(plain, "webhook", "MarkGrants")["Condition"]
    attributes = set(condition["ForAllValues:StringEquals"]["dynamodb:Attributes"])

    assert attributes <= {*records.GRANT_ATTRIBUTES, *records.CIPHERTEXT}
    assert not attributes & {"o", "r", "sc", "ae", "w"}
    assert condition["StringEqualsIfExists"]["dynamodb:ReturnValues"] == [
        "NONE",
        "UPDATED_OLD",
        "UPDATED_NEW",
    ]


@pytest.mark.parametrize(("name", "sid"), WRAPPED_KEYS)
def test_wrapped_keys_are_reached_by_their_own_partition(
    plain: dict[str, Any], name: str, sid: str
) -> None:
    operator, keys = WRAPPED_KEYS[name, sid]

    assert statement_of(plain, name, sid)["Condition"] == {operator: {"dynamodb:LeadingKeys": keys}}


def test_the_callback_reads_no_stored_token(plain: dict[str, Any]) -> None:
    """AES-GCM is symmetric: the function that seals is kept from stored tokens by the table."""
    for statement in _statements(plain, "callback"):
        if _is_on(statement, "AccountsTable"):
            is_key_partition = "dynamodb:LeadingKeys" in json.dumps(statement.get("Condition"))
            assert is_key_partition or _listed(statement["Action"]) == ["dynamodb:UpdateItem"]


def test_nobody_scans_or_deletes(plain: dict[str, Any]) -> None:
    actions = {a for s in _all_statements(plain) for a in _listed(s["Action"])}

    assert not {a for a in actions if a.endswith(("Scan", "DeleteItem", "BatchWriteItem"))}


def test_only_the_refresh_function_and_the_callback_touch_refresh_tokens(
    plain: dict[str, Any],
) -> None:
    may = {n for n in POWERS if "refresh" in PURPOSES.get(n, ())}

    assert may == {"refresh", "callback"}


def test_the_scheduler_may_invoke_the_plan_and_report_failure(plain: dict[str, Any]) -> None:
    role = plain["Resources"]["RefreshFunctionPlanRole"]["Properties"]
    statements = [s for p in role["Policies"] for s in p["PolicyDocument"]["Statement"]]

    assert {power for s in statements for power in _powers(s)} == {
        ("lambda:InvokeFunction", "RefreshFunction"),
        ("sqs:SendMessage", "ScheduleDeadLetterQueue"),
    }


def test_the_backend_may_call_the_api_and_nothing_else(plain: dict[str, Any]) -> None:
    policy = plain["Resources"]["BackendPolicy"]["Properties"]["PolicyDocument"]
    (statement,) = policy["Statement"]

    assert statement["Action"] == "execute-api:Invoke"
    # The star stands for the method; routes outside /v1 are public anyway.
    assert statement["Resource"]["Fn::Sub"].endswith("${HttpApi}/$default/*/v1/*")


def test_every_role_takes_the_permissions_boundary(plain: dict[str, Any]) -> None:
    roles = [r for r in plain["Resources"].values() if r["Type"] == "AWS::IAM::Role"]

    assert len(roles) == len(POWERS) + 1
    for role in roles:
        condition, boundary, otherwise = role["Properties"]["PermissionsBoundary"]["Fn::If"]
        assert condition == "HasPermissionsBoundary"
        assert (boundary, otherwise) == (
            {"Ref": "PermissionsBoundaryArn"},
            {"Ref": "AWS::NoValue"},
        )


# ---- reading policies --------------------------------------------------------------------------


def _role(plain: dict[str, Any], name: str) -> dict[str, Any]:
    role: dict[str, Any] = plain["Resources"][f"{name.capitalize()}FunctionRole"]["Properties"]
    return role


def _statements(plain: dict[str, Any], name: str) -> list[Statement]:
    policies = _role(plain, name)["Policies"]
    return [s for policy in policies for s in policy["PolicyDocument"]["Statement"]]


def statement_of(plain: dict[str, Any], name: str, sid: str) -> Statement:
    (found,) = [s for s in _statements(plain, name) if s.get("Sid") == sid]
    return found


def _all_statements(plain: dict[str, Any]) -> Iterator[Statement]:
    for resource in plain["Resources"].values():
        if resource["Type"] == "AWS::IAM::Role":
            for policy in resource["Properties"]["Policies"]:
                yield from policy["PolicyDocument"]["Statement"]


def _powers(statement: Statement) -> set[tuple[str, str]]:
    return {
        (action, _name(resource))
        for action in _listed(statement["Action"])
        for resource in _listed(statement["Resource"])
    }


def _is_on(statement: Statement, name: str) -> bool:
    return any(_name(resource) == name for resource in _listed(statement["Resource"]))


def _name(resource: Mapping[str, Any]) -> str:
    """`!GetAtt AccountsTable.Arn`, `!Sub ${AccountsTable.Arn}/index/due` and `!Ref AppSecret`."""
    ((function, argument),) = resource.items()
    if function == "Fn::GetAtt":
        assert argument[1] == "Arn"
        return str(argument[0])
    return str(argument).replace("${AccountsTable.Arn}", "AccountsTable")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
