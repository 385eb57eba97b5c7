"""What is left of botocore's descriptions of AWS: enough for every call, and no more."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import botocore
import pytest
from botocore import xform_name
from botocore.session import Session

from local import descriptions
from local.building import SERVICES
from tests.package.conftest import isolated

KEY = {"pk": {"S": "acct_1"}}
# Every call of the package, by service and operation: what it sends, and an answer of AWS.
CALLS: dict[str, dict[str, tuple[dict[str, Any], dict[str, Any]]]] = {
    "dynamodb": {
        "GetItem": ({"TableName": "t", "Key": KEY}, {"Item": KEY}),
        "PutItem": ({"TableName": "t", "Item": KEY}, {}),
        "UpdateItem": (
            {"TableName": "t", "Key": KEY, "UpdateExpression": "SET a = :a"},
            {"Attributes": KEY},
        ),
        "Query": ({"TableName": "t", "KeyConditionExpression": "pk = :p"}, {"Items": [KEY]}),
        "BatchGetItem": ({"RequestItems": {"t": {"Keys": [KEY]}}}, {"Responses": {"t": [KEY]}}),
    },
    "events": {
        "PutEvents": (
            {"Entries": [{"Detail": "{}"}]},
            {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]},
        ),
    },
    "kms": {
        "GenerateDataKey": ({"KeyId": "k", "KeySpec": "AES_256"}, {"KeyId": "k"}),
        "Decrypt": ({"CiphertextBlob": "bytes", "KeyId": "k"}, {"KeyId": "k"}),
    },
    "lambda": {
        "Invoke": ({"FunctionName": "f", "Payload": "{}"}, {}),
    },
    "secretsmanager": {
        "GetSecretValue": ({"SecretId": "s"}, {"SecretString": "made up"}),
    },
    "sqs": {
        "SendMessage": ({"QueueUrl": "https://q", "MessageBody": "m"}, {"MessageId": "1"}),
        "SendMessageBatch": (
            {"QueueUrl": "https://q", "Entries": [{"Id": "1", "MessageBody": "m"}]},
            {"Successful": [{"Id": "1", "MessageId": "1", "MD5OfMessageBody": ""}]},
        ),
        "GetQueueAttributes": (
            {"QueueUrl": "https://q", "AttributeNames": ["All"]},
            {"Attributes": {"ApproximateNumberOfMessages": "2"}},
        ),
    },
}
# Of the powers, what Lambda and DynamoDB ask for in a function's name.
NOT_CALLED = {
    "kms": {"DescribeKey"},
    "sqs": {"ReceiveMessage", "DeleteMessage"},
}

CHILD = """
import json, sys
sys.path += [{layer!r}]
import botocore.session
from botocore import xform_name
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError

class Raw:
    def __init__(self, body): self.body = body
    def stream(self): yield self.body

session = botocore.session.Session()
session.set_credentials("a", "b")
told = []
for service, operation, given, status, body in json.loads({calls!r}):
    client = session.create_client(service, region_name="eu-west-1")
    def answer(request, **more):
        told.append([request.url])
        return AWSResponse(request.url, status, {{}}, Raw(json.dumps(body).encode()))
    client.meta.events.register("before-send", answer)
    try:
        found = getattr(client, xform_name(operation))(**given)
    except ClientError as error:
        found = error.response
    found.pop("Payload", None)
    told[-1].append(found)
print(json.dumps(told, default=str))
"""


def called(layer: Path, calls: list[tuple[str, str, Any, int, Any]]) -> list[list[Any]]:
    """Make these calls with the layer's SDK, in a process of its own, and answer each of them."""
    ran = isolated(CHILD.format(layer=str(layer), calls=json.dumps(calls)))
    assert ran.returncode == 0, ran.stderr
    told: list[list[Any]] = json.loads(ran.stdout)
    return told


def described(layer: Path, service: str) -> dict[str, Any]:
    """The newest description of a service that the layer has."""
    newest = max((layer / "botocore/data" / service).glob("*/service-2.json"))
    read: dict[str, Any] = json.loads(newest.read_text(encoding="utf-8"))
    return read


def test_every_call_of_the_package_works_with_what_is_left(layer: Path) -> None:
    calls = [
        (service, operation, given, 200, answer)
        for service, operations in CALLS.items()
        for operation, (given, answer) in operations.items()
    ]

    told = called(layer, calls)

    for (service, _, _, _, answer), (url, found) in zip(calls, told, strict=True):
        assert url.startswith((f"https://{service}.eu-west-1.amazonaws.com/", "https://q"))
        assert found.pop("ResponseMetadata")["HTTPStatusCode"] == 200
        assert answer.items() <= found.items()


def test_an_error_brings_the_item_that_it_speaks_of(layer: Path) -> None:
    """Saves are decided by it, and the SDK reads it by the description of the error."""
    name = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"
    given, _ = CALLS["dynamodb"]["UpdateItem"]

    ((_, found),) = called(
        layer, [("dynamodb", "UpdateItem", given, 400, {"__type": name, "Item": KEY})]
    )

    assert found["Error"]["Code"] == "ConditionalCheckFailedException"
    assert found["Item"] == KEY


@pytest.mark.parametrize("service", sorted(CALLS))
def test_what_is_left_is_what_the_policies_allow(layer: Path, service: str) -> None:
    left = described(layer, service)["operations"].keys()

    assert left == CALLS[service].keys() | NOT_CALLED.get(service, set())


def test_every_call_that_the_package_makes_is_tried_here(layer: Path) -> None:
    """Whatever an adapter names that an AWS service calls an operation."""
    adapters = (layer / "tiktok_linking" / "adapters").glob("*.py")
    code = "\n".join(file.read_text(encoding="utf-8") for file in adapters)
    named = set(re.findall(r"\.([a-z_]+)\b", code)) | set(re.findall(r"\"([a-z_]+)\"", code))
    session = Session()
    of_aws = {
        xform_name(operation)
        for service in SERVICES
        for operation in session.get_service_model(service).operation_names
    }

    tried = {xform_name(operation) for calls in CALLS.values() for operation in calls}
    assert named & of_aws - {"encrypt"} == tried  # AESGCM has a method of that name


def test_endpoints_of_all_partitions_are_left(layer: Path) -> None:
    published = Session().get_data("endpoints")["partitions"]
    left = json.loads((layer / "botocore/data/endpoints.json").read_bytes())["partitions"]

    assert [one["partition"] for one in left] == [one["partition"] for one in published]
    for ours, theirs in zip(left, published, strict=True):
        assert ours["services"] == {
            name: found for name, found in theirs["services"].items() if name in SERVICES
        }
        assert {**ours, "services": {}} == {**theirs, "services": {}}


def test_a_service_without_a_policy_stays_as_it_was_published(layer: Path) -> None:
    """STS: no function has a power of it, and tools ask it who they are."""
    (left,) = (layer / "botocore/data/sts").glob("*/service-2.json.gz")
    published = Path(botocore.__file__).parent / left.relative_to(layer / "botocore")

    assert left.read_bytes() == published.read_bytes()


def test_a_power_for_more_than_one_operation_is_refused(tmp_path: Path) -> None:
    template = {"Resources": {"F": {"Properties": {"Policies": {"Action": "dynamodb:*Item"}}}}}

    with pytest.raises(SystemExit, match=r"dynamodb:\*Item"):
        descriptions.cut(tmp_path, SERVICES, template)


def test_a_power_that_is_added_brings_its_operation_along(tmp_path: Path) -> None:
    shapes = {"In": {"members": {"x": {"shape": "Deep"}}}, "Deep": {}, "Lost": {}}
    published = {
        "operations": {"Kept": {"input": {"shape": "In"}}, "Dropped": {"input": {"shape": "Lost"}}},
        "shapes": shapes,
    }
    policies = [{"Statement": [{"Action": ["a:Kept", "b:C"]}]}]
    template = {
        "Resources": {
            "F": {"Properties": {"Policies": policies}},
            "Key": {"Properties": {"KeyPolicy": {"Action": ["a:*", "a:Dropped"]}}},
        }
    }
    for service in ("a", "unnamed"):
        folder = tmp_path / service / "1"
        folder.mkdir(parents=True)
        packed = gzip.compress(json.dumps(published).encode())
        (folder / "service-2.json.gz").write_bytes(packed)
    (tmp_path / "endpoints.json").write_text('{"partitions": [{"services": {"a": 1, "z": 2}}]}')

    descriptions.cut(tmp_path, {"a", "unnamed"}, template)

    cut = json.loads((tmp_path / "a/1/service-2.json").read_bytes())
    assert cut["operations"].keys() == {"Kept"}
    assert cut["shapes"].keys() == {"In", "Deep"}
    assert (tmp_path / "unnamed/1/service-2.json.gz").is_file()
    assert json.loads((tmp_path / "endpoints.json").read_bytes())["partitions"] == [
        {"services": {"a": 1}}
    ]
