"""What the world does for a function, and what its control port does for people and tests."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
import requests
from botocore.exceptions import ClientError

from local.testing import WorldHandle


def ask(world: WorldHandle, what: str, **more: Any) -> Any:
    """Have the probe do something; answers what it answered."""
    answer = world.invoke("ProbeFunction", {"do": what, **more})
    assert answer["error"] is None, answer
    return answer["payload"]


def environment(world: WorldHandle) -> dict[str, str]:
    env: dict[str, str] = json.loads(ask(world, "echo")["body"])["env"]
    return env


# ---- a function's surroundings -----------------------------------------------------------------


def test_all_endpoints_are_told_and_on_loopback(world: WorldHandle) -> None:
    assert set(world.endpoints) == {"gateway", "tiktok", "app", "aws", "control"}
    assert all(url.startswith("http://127.0.0.1:") for url in world.endpoints.values())


def test_variables_are_those_that_the_stack_resolved(world: WorldHandle) -> None:
    env = environment(world)

    assert env["TABLE"].startswith("tiktok-link-Table-")
    assert env["QUEUE_URL"].startswith(world.endpoints["aws"])
    assert env["KEY_ARN"].startswith("arn:aws:kms:us-east-1:")
    assert env["TIKTOK_API_BASE_URL"] == world.endpoints["tiktok"]
    assert env["AWS_ENDPOINT_URL"] == world.endpoints["aws"]
    assert env["AWS_ENDPOINT_URL_LAMBDA"] == world.endpoints["control"]


def test_nothing_of_the_shell_reaches_a_function(world: WorldHandle) -> None:
    env = environment(world)

    assert "LOCAL_CALLERS" not in env
    assert env["HOME"] == env["TMPDIR"] != os.environ.get("HOME")
    assert set(env) <= {
        "AWS_ACCESS_KEY_ID",
        "AWS_DEFAULT_REGION",
        "AWS_EC2_METADATA_DISABLED",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_LAMBDA",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "BUS",
        "HOME",
        "KEY_ARN",
        "LANG",
        "LC_CTYPE",
        "PATH",
        "QUEUE_URL",
        "SECRET_ARN",
        "TABLE",
        "TENANTS",
        "TIKTOK_API_BASE_URL",
        "TMPDIR",
        "TZ",
        "WORK_FUNCTION",
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
    }


def test_layers_are_importable(world: WorldHandle) -> None:
    assert json.loads(ask(world, "echo")["body"])["greeting"] == "from the layer"


def test_the_context_counts_down_the_real_deadline(world: WorldHandle) -> None:
    context = ask(world, "context")

    assert 15_000 < context["before"] <= 20_000
    assert 40 <= context["before"] - context["after"] < 1_000
    assert context["memory"] == "256"
    assert context["arn"].endswith(f":function:{context['name']}")
    assert context["request_id"]


def test_the_secret_of_each_registration_is_filled_in(world: WorldHandle) -> None:
    secret = ask(world, "write")

    assert set(secret) == {"default", "second"}
    assert all(set(versions) == {"current"} for versions in secret.values())


# ---- processes ---------------------------------------------------------------------------------


def test_a_process_is_used_again(world: WorldHandle) -> None:
    assert ask(world, "context")["pid"] == ask(world, "context")["pid"]


def test_invocations_at_once_run_in_processes_of_their_own(world: WorldHandle) -> None:
    with ThreadPoolExecutor(3) as three:
        pids = list(three.map(lambda _: ask(world, "sleep", seconds=0.3)["pid"], range(3)))

    assert len(set(pids)) == 3


def test_more_invocations_than_processes_wait_and_run(world: WorldHandle) -> None:
    started = time.monotonic()
    with ThreadPoolExecutor(9) as nine:
        pids = list(nine.map(lambda _: ask(world, "sleep", seconds=0.2)["pid"], range(9)))

    assert len(pids) == 9
    assert len(set(pids)) <= 3
    assert time.monotonic() - started >= 0.6


def test_an_exception_is_an_error_document_and_a_log_record(world: WorldHandle) -> None:
    answer = world.invoke("ProbeFunction", {"do": "fail"})

    assert answer["status"] == 500
    assert answer["error"] == "LookupError: nothing there"
    document = answer["payload"]
    assert document["errorType"] == "LookupError"
    assert any("_fail" in frame for frame in document["stackTrace"])
    records = world.logs("probe")
    assert any(record.get("message") == "before the failure" for record in records)
    assert any(record.get("requestId") == document["requestId"] for record in records)


@pytest.mark.parametrize("how", ["exit", "unserializable"])
def test_a_failure_of_the_runtime_leaves_a_working_function(world: WorldHandle, how: str) -> None:
    failed = world.invoke("ProbeFunction", {"do": how})

    kind = {"exit": "Runtime.ExitError", "unserializable": "Runtime.MarshalError"}[how]
    assert failed["error"].startswith(f"{kind}: ")
    assert ask(world, "context")["pid"]


def test_a_run_over_its_timeout_is_killed(world: WorldHandle) -> None:
    started = time.monotonic()
    answer = world.invoke("WorkFunction", {"sleep": 60})

    assert answer["error"].startswith("Sandbox.Timedout: ")
    assert "Task timed out after 3.00 seconds" in answer["error"]
    assert 3 <= time.monotonic() - started < 30
    assert any("Task timed out" in r.get("errorMessage", "") for r in world.logs("work"))
    assert world.invoke("WorkFunction", {"again": True})["payload"] == {"echo": {"again": True}}


def test_the_temporary_folder_of_a_slot_outlives_its_process(world: WorldHandle) -> None:
    before = ask(world, "count")
    world.invoke("ProbeFunction", {"do": "exit"})
    with ThreadPoolExecutor(3) as three:  # one for each slot
        after = list(three.map(lambda _: ask(world, "count", seconds=0.5), range(3)))

    (same_slot,) = [visits for visits in after if before[-1] in visits]
    assert same_slot[:-1] == before
    assert same_slot[-1] != before[-1]


# ---- the clock ---------------------------------------------------------------------------------


def test_the_clock_moves_for_functions_and_for_tiktok(world: WorldHandle) -> None:
    told = world.advance(days=3)
    seen = datetime.fromisoformat(ask(world, "time"))

    assert timedelta() <= seen - told < timedelta(seconds=30)
    assert told - datetime.now(UTC) > timedelta(days=2, hours=23)
    assert world.now() >= told


@pytest.mark.parametrize("body", [{}, {"advance_seconds": "1"}, {"advance_seconds": -1}, []])
def test_a_senseless_clock_request_is_refused(world: WorldHandle, body: Any) -> None:
    answer = requests.post(f"{world.endpoints['control']}/clock", json=body, timeout=10)

    assert answer.status_code == 400
    assert "error" in answer.json()


# ---- counting ----------------------------------------------------------------------------------


def test_calls_are_counted_by_function_and_kind(world: WorldHandle) -> None:
    ask(world, "write")
    ask(world, "call")

    assert world.calls()["probe"] == {
        "dynamodb.PutItem": 1,
        "events.PutEvents": 1,
        "kms.GenerateDataKey": 1,
        "lambda.Invoke": 1,
        "secretsmanager.GetSecretValue": 1,
        "sqs.SendMessage": 1,
        "tiktok.user_info": 1,
    }
    world.forget_calls()
    assert world.calls()["probe"] == {}


def test_events_on_the_bus_are_captured(world: WorldHandle) -> None:
    before = len(world.events())
    ask(world, "write")
    world.settle()

    (event,) = world.events()[before:]
    assert set(event) == {"source", "detail-type", "detail", "time"}
    assert event["source"] == "tiktok-link"
    assert event["detail-type"] == "account.linked"
    assert event["detail"] == {"event_id": "1"}


# ---- invoking ----------------------------------------------------------------------------------


def test_a_function_invokes_another(world: WorldHandle) -> None:
    answer = ask(world, "call")

    assert answer["status"] == 200
    assert answer["error"] is None
    assert json.loads(answer["payload"]) == {"echo": {"from": "probe"}}


def test_an_asynchronous_invocation_is_accepted_and_runs(world: WorldHandle) -> None:
    before = len([r for r in world.logs("work") if r.get("message") == "called"])
    answer = ask(world, "call", type="Event")
    world.settle()

    assert answer["status"] == 202
    assert len([r for r in world.logs("work") if r.get("message") == "called"]) == before + 1


def lambda_client(world: WorldHandle) -> Any:
    return boto3.client(
        "lambda",
        endpoint_url=world.endpoints["control"],
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def test_the_invoke_api_takes_names_and_arns(world: WorldHandle) -> None:
    context = ask(world, "context")
    account = "000000000000:function"

    for name in (context["name"], context["arn"], f"{account}:{context['name']}"):
        answer = lambda_client(world).invoke(FunctionName=name, Payload=b'{"do": "context"}')
        assert json.loads(answer["Payload"].read())["name"] == context["name"]
        assert answer["ExecutedVersion"] == "$LATEST"


def test_the_invoke_api_tells_failures_as_lambda_does(world: WorldHandle) -> None:
    name = ask(world, "context")["name"]
    client = lambda_client(world)

    failed = client.invoke(FunctionName=name, Payload=b'{"do": "fail"}')
    assert (failed["StatusCode"], failed["FunctionError"]) == (200, "Unhandled")
    assert json.loads(failed["Payload"].read())["errorType"] == "LookupError"
    with pytest.raises(ClientError) as unknown:
        client.invoke(FunctionName="nothing")
    assert unknown.value.response["Error"]["Code"] == "ResourceNotFoundException"
    assert client.invoke(FunctionName=name, InvocationType="DryRun")["StatusCode"] == 204


def test_control_says_what_it_does_not_know(world: WorldHandle) -> None:
    control = world.endpoints["control"]

    no_function = requests.post(f"{control}/invoke/Nothing", json={}, timeout=10)
    assert no_function.status_code == 404
    assert "ProbeFunction, WorkFunction" in no_function.json()["error"]
    assert requests.get(f"{control}/nothing", timeout=10).status_code == 404
    assert requests.get(f"{control}/settle", timeout=10).status_code == 405
    bad = requests.post(f"{control}/invoke/ProbeFunction", data="{", timeout=10)
    assert bad.status_code == 400


# ---- logs --------------------------------------------------------------------------------------


def test_each_log_line_is_a_record_with_the_functions_name(world: WorldHandle) -> None:
    ask(world, "context")

    records = [json.loads(line) for line in world.log_text().splitlines()]
    assert records
    assert {record["function"] for record in records} <= {"probe", "work"}
