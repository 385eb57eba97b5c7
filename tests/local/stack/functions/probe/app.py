"""Does what the event asks for, so that a test can look at the world around a function."""

import json
import os
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
import requests
from probing import GREETING  # type: ignore[import-not-found]

from tiktok_linking import bootstrap


def lambda_handler(event: Any, context: Any) -> Any:
    asked = event.get("do") or (event.get("queryStringParameters") or {}).get("do", "echo")
    return globals()[f"_{asked}"](event, context)


def _echo(event: Any, context: Any) -> Any:
    body = json.dumps({"event": event, "env": dict(os.environ), "greeting": GREETING})
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": body}


def _answer(event: Any, context: Any) -> Any:
    return json.loads(event["queryStringParameters"]["with"])


def _context(event: Any, context: Any) -> Any:
    before = context.get_remaining_time_in_millis()
    time.sleep(0.05)
    return {
        "request_id": context.aws_request_id,
        "arn": context.invoked_function_arn,
        "name": context.function_name,
        "memory": context.memory_limit_in_mb,
        "before": before,
        "after": context.get_remaining_time_in_millis(),
        "pid": os.getpid(),
    }


def _time(event: Any, context: Any) -> Any:
    clock: Callable[[], datetime] = vars(bootstrap)["clocks"][0]  # of the stack's own layer
    return clock().isoformat()


def _sleep(event: Any, context: Any) -> Any:
    time.sleep(float(event.get("seconds", 60)))
    return {"pid": os.getpid()}


def _fail(event: Any, context: Any) -> Any:
    print("before the failure")
    raise LookupError("nothing there")


def _exit(event: Any, context: Any) -> Any:
    os._exit(3)


def _unserializable(event: Any, context: Any) -> Any:
    return {"value": object()}


def _count(event: Any, context: Any) -> Any:
    """Leaves a line in the temporary folder and answers how many are there."""
    file = Path(tempfile.gettempdir()) / "visits"
    with file.open("a", encoding="ascii") as lines:
        lines.write(f"{os.getpid()}\n")
    time.sleep(float(event.get("seconds", 0)))
    return file.read_text(encoding="ascii").splitlines()


def _write(event: Any, context: Any) -> Any:
    """One call of each kind."""
    boto3.client("dynamodb").put_item(TableName=os.environ["TABLE"], Item={"pk": {"S": "1"}})
    boto3.client("sqs").send_message(QueueUrl=os.environ["QUEUE_URL"], MessageBody="ok")
    boto3.client("events").put_events(
        Entries=[
            {
                "EventBusName": os.environ["BUS"],
                "Source": "tiktok-link",
                "DetailType": "account.linked",
                "Detail": '{"event_id": "1"}',
            }
        ]
    )
    boto3.client("kms").generate_data_key(
        KeyId=os.environ["KEY_ARN"], KeySpec="AES_256", EncryptionContext={"purpose": "access"}
    )
    base = os.environ["TIKTOK_API_BASE_URL"]
    requests.get(f"{base}/v2/user/info/", timeout=5)
    secret = boto3.client("secretsmanager").get_secret_value(SecretId=os.environ["SECRET_ARN"])
    return json.loads(secret["SecretString"])


def _read(event: Any, context: Any) -> Any:
    return boto3.client("dynamodb").get_item(TableName=os.environ["TABLE"], Key={"pk": {"S": "1"}})[
        "Item"
    ]


def _call(event: Any, context: Any) -> Any:
    """Invoke the other function."""
    answer = boto3.client("lambda").invoke(
        FunctionName=os.environ["WORK_FUNCTION"],
        InvocationType=event.get("type", "RequestResponse"),
        Payload=json.dumps({"from": "probe"}).encode(),
    )
    return {
        "status": answer["StatusCode"],
        "error": answer.get("FunctionError"),
        "payload": answer["Payload"].read().decode(),
    }
