"""Who may do what: one role for each function, and the table of powers of design and architecture.

The emulators cannot show these: MiniStack ignores dynamodb:LeadingKeys and kms:EncryptionContext
and sees dynamodb:Attributes in queries alone, moto knows no resource. So the whole of each role is
compared with a list written out here. That each of these powers is needed is shown by tests/iam.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.docs.reading import Document
from tests.template.conftest import ROOT
from tests.template.policies import (
    Power,
    Statement,
    granted,
    listed,
    powers,
    resource_name,
    roles,
    statements,
)
from tiktok_linking.adapters import records, sealing

LOGS = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"

# ---- conditions, by what they are for ----------------------------------------------------------

Condition = dict[str, dict[str, Any]]

ALWAYS: Condition = {}
THROUGH_DYNAMODB: Condition = {
    "StringEquals": {
        "kms:ViaService": {"Fn::Sub": "dynamodb.${AWS::Region}.${AWS::URLSuffix}"},
    }
}
# What fails or changes an item may tell of what it named, never of the rest of the item.
TELLS_NO_ITEM = {"dynamodb:ReturnValues": ["NONE", "UPDATED_OLD", "UPDATED_NEW"]}
# Attributes are asked for by name, and they are what records.py calls shown.
WITHOUT_CIPHERTEXT: Condition = {
    "StringEquals": {"dynamodb:Select": "SPECIFIC_ATTRIBUTES"},
    "ForAllValues:StringEquals": {"dynamodb:Attributes": [*records.SHOWN_ATTRIBUTES]},
}
DATA_KEYS: Condition = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["key#*"]}}
ACCESS_KEYS: Condition = {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["key#access"]}}


def naming(attributes: str) -> Condition:
    """Updates that name these attributes alone and tell of no other."""
    return {
        "StringEqualsIfExists": TELLS_NO_ITEM,
        "ForAllValues:StringEquals": {"dynamodb:Attributes": attributes.split(" ")},
    }


# A wrapped data key (w) is not among them: who saves pairs cannot make them unreadable.
RENEWING = naming(" ".join([*records.SHOWN_ATTRIBUTES, *records.CIPHERTEXT]))
# With the date after which DynamoDB deletes an item: who begins or ends a link sets or removes it.
SAVING = naming(" ".join([*records.SHOWN_ATTRIBUTES, *records.CIPHERTEXT, "ttl"]))
# A timeline has a partition of its own, named by its account; grants' names begin otherwise.
NOTING: Condition = {
    "ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["acct_*"]},
    "ForAllValues:StringEquals": {"dynamodb:Attributes": ["pk", "sk", "st", "mt", "ttl"]},
}
# Ends a grant or makes it due; no word of the person, the scopes or a new pair.
REMOVING = naming("pk sk st rs a f fp pi ds da lo lu it rc ff fc fe fl bo rv ua au lx v ev")


def for_purposes(*purposes: str) -> Condition:
    """The data keys of these purposes: IAM gives one without the others."""
    return {
        "StringEquals": {
            "kms:EncryptionContext:service": sealing.SERVICE,
            "kms:EncryptionContext:purpose": [*purposes],
        }
    }


# ---- the matrix --------------------------------------------------------------------------------

Row = tuple[str, str, Condition]  # actions, resources, condition

TABLES_KEY: dict[str, Row] = {
    "TablesKeyThroughDynamoDB": (
        "kms:Decrypt kms:GenerateDataKey kms:DescribeKey",
        "TablesKey",
        THROUGH_DYNAMODB,
    )
}
SECRETS: dict[str, Row] = {
    "ReadClientSecrets": ("secretsmanager:GetSecretValue", "AppSecret", ALWAYS)
}
OPENS_ACCESS_TOKENS: dict[str, Row] = {
    "ReadWrappedAccessKeys": ("dynamodb:GetItem", "AccountsTable", ACCESS_KEYS),
    "OpenAccessTokens": ("kms:Decrypt", "SealingKey", for_purposes("access")),
    "AskForRenewal": ("lambda:InvokeFunction", "RefreshFunction", ALWAYS),
}
MATRIX: dict[str, dict[str, Row]] = {
    "authorize": TABLES_KEY
    | {"ReadAndStartSessions": ("dynamodb:GetItem dynamodb:UpdateItem", "SessionsTable", ALWAYS)},
    "callback": TABLES_KEY
    | SECRETS
    | {
        "UseUpSessions": ("dynamodb:UpdateItem", "SessionsTable", ALWAYS),
        "SaveGrantsAndAccounts": ("dynamodb:UpdateItem", "AccountsTable", SAVING),
        "ReadAndMakeWrappedDataKeys": (
            "dynamodb:GetItem dynamodb:PutItem",
            "AccountsTable",
            DATA_KEYS,
        ),
        "SealPairsAndParkedCodes": (
            "kms:GenerateDataKey kms:Decrypt",
            "SealingKey",
            for_purposes("access", "refresh", sealing.PARKED_CODE),
        ),
        "RescuePairs": ("sqs:SendMessage", "RescueQueue", ALWAYS),
    },
    "sessions": TABLES_KEY
    | {
        "MakeReadAndCancelSessions": (
            "dynamodb:PutItem dynamodb:GetItem dynamodb:UpdateItem",
            "SessionsTable",
            ALWAYS,
        ),
        "ReadAccountsWithoutCiphertext": (
            "dynamodb:BatchGetItem",
            "AccountsTable",
            WITHOUT_CIPHERTEXT,
        ),
    },
    "accounts": TABLES_KEY
    | {
        "ListAccounts": (
            "dynamodb:Query",
            "AccountsTable/index/owner AccountsTable/index/listing",
            ALWAYS,  # no grant is in these indexes, tests/template/test_state.py
        ),
        "ReadGrantsAndAccountsWithoutCiphertext": (
            "dynamodb:Query dynamodb:BatchGetItem",
            "AccountsTable",
            WITHOUT_CIPHERTEXT,
        ),
        "ChangeMetadataAndMode": (
            "dynamodb:UpdateItem",
            "AccountsTable",
            naming("pk sk mt md ds da v ev"),
        ),
    },
    "tokens": TABLES_KEY
    | OPENS_ACCESS_TOKENS
    | {
        "ReadOneLink": ("dynamodb:Query", "AccountsTable", ALWAYS),
        "MarkUseAndPassedDeadline": (
            "dynamodb:UpdateItem",
            "AccountsTable",
            naming("pk sk us ds da st rs v ev fp rb"),
        ),
        # With AuditEvents=on alone.
        "SendAuditEvents": ("events:PutEvents", "EventBus", ALWAYS),
    },
    "unlink": TABLES_KEY
    | SECRETS
    | OPENS_ACCESS_TOKENS
    | {
        "ReadOneGrantAndItsAccounts": ("dynamodb:Query", "AccountsTable", ALWAYS),
        "FindAccountsOfOneEndUser": (
            "dynamodb:Query",
            "AccountsTable/index/owner",
            ALWAYS,  # no grant is in this index, tests/template/test_state.py
        ),
        "SendAndReceiveUnfinishedUnlinks": (
            "sqs:SendMessage sqs:ReceiveMessage sqs:DeleteMessage sqs:GetQueueAttributes",
            "RevocationQueue",
            ALWAYS,
        ),
        "MarkAndForgetTokens": ("dynamodb:UpdateItem", "AccountsTable", SAVING),
    },
    "webhook": TABLES_KEY
    | SECRETS
    | {"MarkGrants": ("dynamodb:UpdateItem", "AccountsTable", REMOVING)},
    "refresh": TABLES_KEY
    | SECRETS
    | {
        "FindDueGrants": ("dynamodb:Query", "AccountsTable/index/due", ALWAYS),
        "ReadGrants": ("dynamodb:GetItem dynamodb:BatchGetItem", "AccountsTable", ALWAYS),
        "SaveGrants": ("dynamodb:UpdateItem", "AccountsTable", RENEWING),
        "FindUnfinishedUnlinks": ("dynamodb:Query", "AccountsTable/index/ending", ALWAYS),
        "SendUnfinishedUnlinks": (
            "sqs:SendMessage sqs:GetQueueAttributes",
            "RevocationQueue",
            ALWAYS,
        ),
        "MakeWrappedDataKeys": ("dynamodb:PutItem", "AccountsTable", DATA_KEYS),
        "SealAndOpenPairs": (
            "kms:GenerateDataKey kms:Decrypt",
            "SealingKey",
            for_purposes("access", "refresh"),
        ),
        "SendAndReceiveRenewals": (
            "sqs:SendMessage sqs:ReceiveMessage sqs:DeleteMessage sqs:GetQueueAttributes",
            "RenewalQueue",
            ALWAYS,
        ),
        "RescuePairs": ("sqs:SendMessage sqs:GetQueueAttributes", "RescueQueue", ALWAYS),
        # SAM's own: where Lambda sends a plan that failed.
        "RefreshFunctionEventInvokeConfigOnFailureSQSPolicy": (
            "sqs:SendMessage",
            "ScheduleDeadLetterQueue",
            ALWAYS,
        ),
    },
    "rescue": TABLES_KEY
    | {
        "SavePairs": ("dynamodb:UpdateItem", "AccountsTable", SAVING),
        "FinishSessions": ("dynamodb:UpdateItem", "SessionsTable", ALWAYS),
        "ReceivePairs": (
            "sqs:ReceiveMessage sqs:DeleteMessage sqs:GetQueueAttributes",
            "RescueQueue",
            ALWAYS,
        ),
    },
    "publish": TABLES_KEY
    | {
        "ReadStreams": (
            "dynamodb:DescribeStream dynamodb:GetRecords dynamodb:GetShardIterator"
            " dynamodb:ListStreams",
            "AccountsTable/stream SessionsTable/stream",
            ALWAYS,
        ),
        "SendEvents": ("events:PutEvents", "EventBus", ALWAYS),
        "ReadGrantsAndAccountsWithoutCiphertext": (
            "dynamodb:Query",
            "AccountsTable",
            WITHOUT_CIPHERTEXT,
        ),
        "MoveIndexCopies": (
            "dynamodb:UpdateItem",
            "AccountsTable",
            naming("pk sk rb os ns nd gs ut au ul ev"),
        ),
        "NoteInTimelines": ("dynamodb:PutItem", "AccountsTable", NOTING),
        # With ReminderLinks=on alone.
        "MakeSessionsForReminders": ("dynamodb:PutItem dynamodb:GetItem", "SessionsTable", ALWAYS),
        "TellWhereAStreamStopped": ("sqs:SendMessage", "PublishDeadLetterQueue", ALWAYS),
    },
    "remind": TABLES_KEY
    | {
        "FindAccountsToLookAt": ("dynamodb:Query", "AccountsTable/index/reminders", ALWAYS),
        "ReadGrantsAndAccountsWithoutCiphertext": (
            "dynamodb:BatchGetItem",
            "AccountsTable",
            WITHOUT_CIPHERTEXT,
        ),
        "MarkRemindersAndPassedDeadlines": (
            "dynamodb:UpdateItem",
            "AccountsTable",
            naming("pk sk ns nd nt au ul st rs ds da v rb ev"),
        ),
        # SAM's own: where Lambda sends a run that failed.
        "RemindFunctionEventInvokeConfigOnFailureSQSPolicy": (
            "sqs:SendMessage",
            "ScheduleDeadLetterQueue",
            ALWAYS,
        ),
    },
    # The scheduler's, made by SAM.
    "remind daily": {
        "RemindFunctionDailyLambdaPolicy": ("lambda:InvokeFunction", "RemindFunction", ALWAYS),
        "RemindFunctionDailySQSPolicy": ("sqs:SendMessage", "ScheduleDeadLetterQueue", ALWAYS),
    },
    "refresh plan": {
        "RefreshFunctionPlanLambdaPolicy": ("lambda:InvokeFunction", "RefreshFunction", ALWAYS),
        "RefreshFunctionPlanSQSPolicy": ("sqs:SendMessage", "ScheduleDeadLetterQueue", ALWAYS),
    },
}
FUNCTIONS = MATRIX.keys() - {"refresh plan", "remind daily"}


@pytest.mark.parametrize("role", MATRIX)
def test_a_role_may_do_this_under_these_conditions_and_nothing_else(
    plain: dict[str, Any], role: str
) -> None:
    granted = {
        name: (
            set(listed(statement["Action"])),
            {resource_name(resource) for resource in listed(statement["Resource"])},
            _unordered(statement.get("Condition", {})),
        )
        for name, statement in statements(roles(plain)[role]).items()
    }

    assert granted == {
        name: (set(actions.split(" ")), set(resources.split(" ")), _unordered(condition))
        for name, (actions, resources, condition) in MATRIX[role].items()
    }


def _unordered(condition: Condition) -> dict[str, dict[str, Any]]:
    """To IAM one value is a list of one, and a list has no order."""
    return {
        operator: {key: sorted(listed(value), key=str) for key, value in tests.items()}
        for operator, tests in condition.items()
    }


def test_every_function_has_a_role_of_its_own_and_there_is_no_other(plain: dict[str, Any]) -> None:
    used = [
        resource["Properties"]["Role"]["Fn::GetAtt"][0]
        for resource in plain["Resources"].values()
        if resource["Type"] == "AWS::Lambda::Function"
    ]

    assert roles(plain).keys() == MATRIX.keys()
    assert sorted(used) == sorted(f"{name.capitalize()}FunctionRole" for name in FUNCTIONS)


def test_a_role_has_no_policy_beside_but_that_for_logs(plain: dict[str, Any]) -> None:
    for name, role in roles(plain).items():
        assert role.get("ManagedPolicyArns", []) == ([LOGS] if name in FUNCTIONS else []), name
    beside = ("AWS::IAM::Policy", "AWS::IAM::RolePolicy", "AWS::IAM::UserPolicy", "AWS::IAM::User")
    assert [n for n, r in plain["Resources"].items() if r["Type"] in beside] == []


def test_a_role_is_taken_by_its_own_service_alone(plain: dict[str, Any]) -> None:
    for name, role in roles(plain).items():
        service = "lambda" if name in FUNCTIONS else "scheduler"
        for statement in role["AssumeRolePolicyDocument"]["Statement"]:
            assert listed(statement["Action"]) == ["sts:AssumeRole"]
            assert listed(statement["Principal"]["Service"]) == [f"{service}.amazonaws.com"]
            assert set(statement["Principal"]) == {"Service"}


def test_only_allowances_and_no_negations(plain: dict[str, Any]) -> None:
    for role in roles(plain).values():
        for statement in statements(role).values():
            assert statement["Effect"] == "Allow"
            assert not {"NotAction", "NotResource", "NotPrincipal"} & statement.keys()


def test_every_statement_of_ours_says_what_for(template: dict[str, Any]) -> None:
    for resource in template["Resources"].values():
        for policy in resource["Properties"].get("Policies", []):
            sids = [granted(statement)["Sid"] for statement in policy["Statement"]]
            assert all(sids)
            assert len(set(sids)) == len(sids)


# ---- wildcards ---------------------------------------------------------------------------------

# (resource of the template, statement, element) → why it has one. Beside each stands a comment.
WILDCARDS = {
    ("SealingKey", "AccountDecides", "Action"): "the account's own IAM policies decide",
    ("SealingKey", "AccountDecides", "Resource"): "in a key's policy it means this key",
    ("TablesKey", "AccountDecides", "Action"): "the account's own IAM policies decide",
    ("TablesKey", "AccountDecides", "Resource"): "in a key's policy it means this key",
    ("QueuesNeedTls", "RefusePlaintext", "Principal"): "a denial, so nobody gains",
    ("QueuesNeedTls", "RefusePlaintext", "Action"): "a denial, so nobody gains",
    ("QueuesNeedTls", "RefusePlaintext", "Resource"): "means the queue that it is on",
    ("BackendPolicy", "CallLinkingApi", "Resource"): "any method of any signed route",
}


def test_there_is_no_wildcard_without_a_reason(plain: dict[str, Any]) -> None:
    """In roles, managed policies, and what keys and queues say of themselves."""
    found = {
        (name, statement.get("Sid", ""), element)
        for name, resource in plain["Resources"].items()
        for statement in _statements_in(resource)
        for element in ("Action", "Resource", "Principal")
        if "*" in json.dumps(statement.get(element, ""))
    }

    assert found == WILDCARDS.keys()


def test_a_reason_stands_beside_each_wildcard() -> None:
    text = (ROOT / "template.yaml").read_text(encoding="utf-8")
    for name, sid, _ in WILDCARDS:
        own = re.split(r"\n(?=  \w)", text.partition(f"\n  {name}:\n")[2])[0]
        before = own.partition(f"- Sid: {sid}\n")[0].rstrip()
        assert before.splitlines()[-1].lstrip().startswith("# "), (name, sid)


def _statements_in(part: Any) -> Iterator[Statement]:
    """Every statement of every policy document within a resource."""
    if isinstance(part, dict):
        if "Effect" in part:
            yield part
        for inner in part.values():
            yield from _statements_in(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _statements_in(inner)


# ---- what the matrix comes to ------------------------------------------------------------------

READING = {"GetItem", "BatchGetItem", "Query", "Scan", "PartiQLSelect"}


def test_only_refresh_opens_refresh_tokens_and_tokens_and_unlink_access_tokens_alone() -> None:
    """`callback` seals, so it could open: the next test keeps it from what is stored."""
    assert _purposes() == {
        "callback": {"access", "refresh", "parked_code"},
        "tokens": {"access"},
        "unlink": {"access"},
        "refresh": {"access", "refresh"},
    }


def _purposes() -> dict[str, set[str]]:
    return {
        role: set(condition["StringEquals"]["kms:EncryptionContext:purpose"])
        for role, rows in MATRIX.items()
        for _, resources, condition in rows.values()
        if resources == "SealingKey"
    }


def test_the_callback_reads_no_stored_token(plain: dict[str, Any]) -> None:
    """AES-GCM is symmetric: the function that seals is kept from stored tokens by the table."""
    for name, statement in statements(roles(plain)["callback"]).items():
        if {resource_name(r) for r in listed(statement["Resource"])} == {"AccountsTable"}:
            verbs = _verbs(statement)
            is_key_partition = MATRIX["callback"][name][2] == DATA_KEYS
            assert is_key_partition or verbs == {"UpdateItem"}, name


def test_who_has_no_sealing_key_reads_no_ciphertext(plain: dict[str, Any]) -> None:
    assert not set(records.SHOWN_ATTRIBUTES) & set(records.CIPHERTEXT)
    for role in MATRIX.keys() - _purposes().keys():
        for name, statement in statements(roles(plain)[role]).items():
            on_table = "AccountsTable" in map(resource_name, listed(statement["Resource"]))
            if on_table and READING & _verbs(statement):
                assert MATRIX[role][name][2] == WITHOUT_CIPHERTEXT, (role, name)


def test_no_update_returns_an_item_or_touches_a_data_key(plain: dict[str, Any]) -> None:
    """With ALL_OLD an update would read what its function may not."""
    for role, properties in roles(plain).items():
        for name, statement in statements(properties).items():
            on_table = "AccountsTable" in map(resource_name, listed(statement["Resource"]))
            if on_table and "UpdateItem" in _verbs(statement):
                condition = statement["Condition"]
                attributes = condition["ForAllValues:StringEquals"]["dynamodb:Attributes"]
                assert "w" not in attributes, (role, name)
                assert condition["StringEqualsIfExists"] == TELLS_NO_ITEM, (role, name)


def test_marks_name_no_ciphertext_and_the_webhook_nothing_of_the_people() -> None:
    for role, name in (
        ("accounts", "ChangeMetadataAndMode"),
        ("tokens", "MarkUseAndPassedDeadline"),
    ):
        assert _named(role, name) < set(records.SHOWN_ATTRIBUTES)
    removing = _named("webhook", "MarkGrants")
    assert removing <= {*records.GRANT_ATTRIBUTES, *records.CIPHERTEXT}
    assert not removing & {"o", "r", "sc", "ae", "w"}


def _named(role: str, name: str) -> set[str]:
    return set(MATRIX[role][name][2]["ForAllValues:StringEquals"]["dynamodb:Attributes"])


def test_nobody_scans_or_deletes(plain: dict[str, Any]) -> None:
    actions = {power.action for power in powers(plain)}

    assert not {a for a in actions if a.endswith(("Scan", "DeleteItem", "BatchWriteItem"))}
    assert not {a for a in actions if "PartiQL" in a or "Transact" in a}


def test_four_functions_read_client_secrets_and_none_writes_them(plain: dict[str, Any]) -> None:
    """The page that sends people to TikTok is not among them: a client key is no secret."""
    readers = {p.role for p in powers(plain) if p.resource == "AppSecret"}
    verbs = {p.action for p in powers(plain) if p.action.startswith("secretsmanager:")}

    assert readers == {"callback", "unlink", "webhook", "refresh"}
    assert verbs == {"secretsmanager:GetSecretValue"}


def test_the_backend_may_call_the_api_and_nothing_else(plain: dict[str, Any]) -> None:
    policy = plain["Resources"]["BackendPolicy"]["Properties"]["PolicyDocument"]
    (statement,) = policy["Statement"]

    assert statement["Action"] == "execute-api:Invoke"
    # The star stands for the method; routes outside /v1 are public anyway.
    assert statement["Resource"]["Fn::Sub"].endswith("${HttpApi}/$default/*/v1/*")


def test_every_role_takes_the_permissions_boundary(plain: dict[str, Any]) -> None:
    for role in roles(plain).values():
        condition, boundary, otherwise = role["PermissionsBoundary"]["Fn::If"]
        assert condition == "HasPermissionsBoundary"
        assert (boundary, otherwise) == (
            {"Ref": "PermissionsBoundaryArn"},
            {"Ref": "AWS::NoValue"},
        )


# ---- docs/architecture.md ----------------------------------------------------------------------

Lacks = Callable[[set[Power], dict[str, Any]], bool]


def _nothing_on(resource: str) -> Lacks:
    return lambda held, _: not [p for p in held if p.resource.partition("/")[0] == resource]


def _no_reading(held: set[Power], _: dict[str, Any]) -> bool:
    tables = {"AccountsTable", "SessionsTable"}
    return not [p for p in held if p.resource in tables and p.action.split(":")[1] in READING]


def _reading_only(condition: Condition) -> Lacks:
    """Whoever reads the accounts table itself does so under this condition."""
    return lambda held, _: all(
        MATRIX[p.role][p.statement][2] == condition
        for p in held
        if p.resource == "AccountsTable" and p.action.split(":")[1] in READING
    )


# The words of the column "may not", and how a role or a function's variables show that they hold.
MAY_NOT: dict[str, Lacks] = {
    "accounts table": _nothing_on("AccountsTable"),
    "sessions table": _nothing_on("SessionsTable"),
    "sealing key": _nothing_on("SealingKey"),
    "open anything": _nothing_on("SealingKey"),
    "secret": _nothing_on("AppSecret"),
    "TikTok": lambda _, variables: "TIKTOK_API_BASE_URL" not in variables,
    "read the tables": _no_reading,
    "read grants or accounts": _reading_only(DATA_KEYS),
    "ciphertext": _reading_only(WITHOUT_CIPHERTEXT),
    "lists": lambda held, _: not [p for p in held if "/index/" in p.resource],
    "refresh key": lambda held, _: all("refresh" not in _purposes()[p.role] for p in held),
}


def test_the_table_of_powers_in_architecture_is_true(
    plain: dict[str, Any], functions: dict[str, Any]
) -> None:
    table = Document.read("docs/architecture.md").section("Functions and their powers").rows()
    held = set(powers(plain))

    assert {row[0] for row in table} == FUNCTIONS
    for name, _, _, may_not in table:
        own = {power for power in held if power.role == name}
        variables = functions[name]["Environment"]["Variables"]
        for words in may_not.split(", "):
            assert MAY_NOT[words](own, variables), f"{name}: {words}"


def _verbs(statement: Statement) -> set[str]:
    return {action.partition(":")[2] for action in listed(statement["Action"])}


def statement_of(plain: dict[str, Any], role: str, name: str) -> Statement:
    return statements(roles(plain)[role])[name]
