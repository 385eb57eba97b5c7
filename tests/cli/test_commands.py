"""Each command of tiktok-link, run as an operator runs it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import boto3
import pytest

from local.testing import WorldHandle
from tests.cli.conftest import Run
from tests.flows.journey import Journey


def aws(world: WorldHandle, service: str) -> Any:
    session: Any = boto3.Session("test", "test", region_name="us-east-1")
    return session.client(service, endpoint_url=world.endpoints["aws"])


def physical_id(world: WorldHandle, logical_id: str) -> str:
    found = aws(world, "cloudformation").describe_stack_resource(
        StackName="tiktok-link", LogicalResourceId=logical_id
    )
    return str(found["StackResourceDetail"]["PhysicalResourceId"])


# ---- doctor ------------------------------------------------------------------------------------


def test_doctor_finds_nothing_wrong_with_a_world_that_is_well(
    run: Run, cli_world: WorldHandle
) -> None:
    said = run("doctor", "--json")

    assert (said.code, said.json["faults"]) == (0, 0), said.out
    found = {finding["check"]: finding for finding in said.json["findings"]}
    redirect = f"{cli_world.endpoints['gateway']}/callback"
    assert redirect in found["redirect uri"]["found"]
    assert {name for name, one in found.items() if one["level"] == "note"} == {"completion"}
    assert set(found) >= {
        *("caller", "api", "clock", "redirect uri", "webhook", "completion"),
        *(f"{what} {name}" for name in ("default", "second") for what in PER_REGISTRATION),
    }


PER_REGISTRATION = ("registration", "secret", "attempt", "scopes", "pkce")


def test_doctor_leaves_no_attempt_behind(run: Run, cli_world: WorldHandle) -> None:
    run("doctor")

    table = physical_id(cli_world, "SessionsTable")
    items = aws(cli_world, "dynamodb").scan(TableName=table)["Items"]
    mine = [item for item in items if "tiktok-link-doctor" in json.dumps(item, default=str)]
    assert mine
    assert all("cancelled" in json.dumps(item, default=str) for item in mine)


@pytest.fixture
def wrong_secret(cli_world: WorldHandle) -> Iterator[None]:
    """The client key where the secret should be, and another app never filled."""
    secrets = aws(cli_world, "secretsmanager")
    name = secrets.list_secrets()["SecretList"][0]["ARN"]
    kept = secrets.get_secret_value(SecretId=name)["SecretString"]
    wrong = json.dumps({"default": {"current": "awlocaldefault"}})
    secrets.put_secret_value(SecretId=name, SecretString=wrong)
    yield
    secrets.put_secret_value(SecretId=name, SecretString=kept)


@pytest.mark.usefixtures("wrong_secret")
def test_doctor_says_what_is_wrong_with_the_secret_and_the_cure(run: Run) -> None:
    said = run("doctor")

    assert said.code == 1
    assert "FAULT  secret default: is the client key\n       -> copy the client secret" in said.out
    assert "FAULT  secret second: was never filled\n       -> run the command" in said.out
    assert said.out.endswith("2 faults\n")


# ---- accounts, refresh, forecast ---------------------------------------------------------------


def test_accounts_are_listed_and_shown(run: Run, linked: str) -> None:
    listed = run("accounts", "list")
    shown = run("accounts", "show", linked)

    assert linked in listed.out
    assert (listed.code, shown.code) == (0, 0)
    assert "status              active" in shown.out
    of_this = run("accounts", "list", "--json", "--status", "unlinked").json["accounts"]
    assert linked not in [account["id"] for account in of_this]
    assert run("accounts", "show", linked, "--json").json["id"] == linked


def test_an_account_that_is_not_there_is_told_with_cause_and_cure(run: Run) -> None:
    said = run("accounts", "show", "acct_nobody/../..")

    assert (said.code, said.out) == (2, "")
    assert "404 not_found" in said.err
    assert "\n  -> look at the id" in said.err


def test_refresh_renews_at_tiktok_and_tells_the_outcome(
    run: Run, linked: str, people: Journey
) -> None:
    before = people.backend.account(linked)["refresh"]["rotations"]

    dry = run("refresh", linked, "--dry-run")
    assert "nothing was done" in dry.out
    assert run("refresh", linked).out.startswith(f"{linked}: fresh")
    people.world.advance(minutes=90)
    renewed = run("refresh", linked, "--json")

    assert renewed.json == {"account": linked, "outcome": "renewed", "retry_after": None}
    assert people.backend.account(linked)["refresh"]["rotations"] == before + 1


def test_a_refresh_that_fails_says_so_by_its_exit_code(
    run: Run, linked: str, people: Journey
) -> None:
    people.world.advance(minutes=20)  # so late after the link a removal is believed at once
    people.tiktok.control("POST", f"/users/{open_id(people, linked)}/remove", {"reason": 1})
    people.world.settle()

    said = run("refresh", linked)

    assert said.code == 1
    assert ": ended\n" in said.out


def open_id(people: Journey, account_id: str) -> str:
    return str(people.backend.account(account_id)["open_id"])


class Forecasts(BaseHTTPRequestHandler):
    """An API that has a forecast."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        weeks = [
            {"week": "2026-W48", "starts_on": "2026-11-23", "accounts": 3, "is_exact": True},
            {"week": "2026-W49", "starts_on": "2026-11-30", "accounts": 900, "is_exact": False},
        ]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"weeks": weeks}).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_the_forecast_is_shown_week_by_week(
    run: Run, cli_world: WorldHandle, tmp_path: Path
) -> None:
    with HTTPServer(("127.0.0.1", 0), Forecasts) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        gateway = f"http://127.0.0.1:{server.server_port}"
        told = {**cli_world.endpoints, "gateway": gateway}
        (tmp_path / "endpoints.json").write_text(json.dumps(told))

        said = run("forecast", "--weeks", "2", "--tenant", "a b", endpoints=tmp_path)
        server.shutdown()

    assert Forecasts.asked == ["/v1/forecast/relinks?weeks=2&tenant_id=a%20b"]
    assert said.out.splitlines() == [
        "WEEK      FROM        ACCOUNTS",
        "2026-W48  2026-11-23  3",
        "2026-W49  2026-11-30  900 or more",
    ]


def test_the_forecast_of_a_stack_counts_its_accounts(run: Run, linked: str) -> None:
    told = run("forecast", "--weeks", "53", "--json").json["weeks"]
    of_nobody = run("forecast", "--weeks", "2", "--tenant", "a b", "--json").json["weeks"]

    assert linked
    assert len(told) == 53
    assert sum(week["accounts"] for week in told) >= 1
    assert [week["accounts"] for week in of_nobody] == [0, 0]


# ---- redrive -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("queue", "worker"), [("renewal", "refresh"), ("rescue", "rescue"), ("revocation", "unlink")]
)
def test_dead_letters_go_back_once_however_often_it_is_run(
    run: Run, cli_world: WorldHandle, queue: str, worker: str
) -> None:
    dead = physical_id(cli_world, f"{queue.title()}DeadLetterQueue")
    alive = physical_id(cli_world, f"{queue.title()}Queue")
    sqs = aws(cli_world, "sqs")
    for number in range(12):
        body = json.dumps({"grant": f"{number:024}"})
        sqs.send_message(QueueUrl=dead, MessageBody=body)
    cli_world.pause_deliveries(worker)

    assert run("redrive", queue, "--dry-run", "--json").json == {
        "queue": queue,
        "waiting": 12,
        "moved": 0,
        "dry_run": True,
    }
    moved = run("redrive", queue)
    again = run("redrive", queue, "--json")

    assert moved.out == f"12 dead letters went back to the {queue} queue\n"
    assert "sent back: 12 of 12" in moved.err
    assert again.json["moved"] == 0
    counted = sqs.get_queue_attributes(
        QueueUrl=alive, AttributeNames=["ApproximateNumberOfMessages"]
    )
    assert counted["Attributes"] == {"ApproximateNumberOfMessages": "12"}
    sqs.purge_queue(QueueUrl=alive)  # what no worker understands would come again for hours
    cli_world.pause_deliveries()
    cli_world.settle()


# ---- simulate-webhook --------------------------------------------------------------------------


def test_an_event_for_nobody_shows_that_the_secret_is_right(run: Run, linked: str) -> None:
    said = run("simulate-webhook", "--registration", "second", "--json")

    assert (said.code, said.json["http_status"]) == (0, 200)
    assert "active" in run("accounts", "show", linked).out


def test_an_event_for_an_account_ends_it_and_asks_first(
    run: Run, linked: str, people: Journey
) -> None:
    people.world.advance(minutes=20)

    asked = run("simulate-webhook", "--account", linked)
    assert asked.code == 2
    assert people.backend.account(linked)["status"] == "active"
    run("simulate-webhook", "--account", linked, "--reason", "4", "--yes")

    account = people.backend.account(linked)
    assert (account["status"], account["reason"]) == ("revoked", "tiktok_account_banned")


@pytest.mark.usefixtures("wrong_secret")
def test_an_event_signed_by_a_wrong_secret_is_refused(run: Run) -> None:
    said = run("simulate-webhook")

    assert said.code == 1
    assert "HTTP 401" in said.out


# ---- revoke-all --------------------------------------------------------------------------------


def proofs(folder: Path) -> dict[str, dict[str, Any]]:
    head, *rest = (folder / "proof.jsonl").read_text().splitlines()
    assert set(json.loads(head)) == {"stack", "api"}
    return {proof["account"]: proof for proof in map(json.loads, rest)}


def test_nothing_is_revoked_before_the_stack_is_named(
    run: Run, linked: str, people: Journey
) -> None:
    dry = run("revoke-all", "--dry-run")
    wrong = run("revoke-all", typed="tiktok\n")

    assert linked in dry.out
    assert (wrong.code, wrong.out) == (2, "")
    assert "was not typed" in wrong.err
    assert people.backend.account(linked)["status"] == "active"


def test_all_are_revoked_with_a_proof_and_a_run_that_broke_off_goes_on(
    run: Run, linked: str, people: Journey, tmp_path: Path
) -> None:
    first_open_id = open_id(people, linked)
    command = ("revoke-all", "--state", "proof.jsonl")
    people.tiktok.fail("revoke", "500_before", times=50)

    interrupted = run(*command, typed="tiktok-link\n")

    assert interrupted.code == 1
    assert proofs(tmp_path)[linked]["result"] == "pending"
    assert "run the same command again" in interrupted.out
    people.tiktok.control("DELETE", "/faults")
    with (tmp_path / "proof.jsonl").open("a") as half:
        half.write('{"account": "acct_of_a_run_that_was_ki')
    finished = run(*command, "--yes", "--json")

    assert (finished.code, finished.json["undone"]) == (0, 0), finished.out
    proof = proofs(tmp_path)[linked]
    assert (proof["result"], proof["revoked_at_tiktok"]) == ("revoked", True)
    assert proof["request_id"]
    assert not people.tiktok.has_grant(first_open_id)
    assert people.backend.account(linked)["status"] == "unlinked"
    assert (tmp_path / "proof.jsonl").stat().st_mode & 0o077 == 0


def test_a_state_file_of_another_stack_is_refused(run: Run, tmp_path: Path) -> None:
    head = {"stack": "other", "api": "https://other.example.com"}
    (tmp_path / "proof.jsonl").write_text(json.dumps(head) + "\n")

    said = run("revoke-all", "--state", "proof.jsonl", "--yes")

    assert said.code == 2
    assert "belongs to another stack (other)" in said.err


# ---- where -------------------------------------------------------------------------------------


def test_without_a_stack_the_way_to_name_one_is_told(run: Run) -> None:
    said = run("accounts", "list", where="")

    assert said.code == 2
    assert said.err == (
        "tiktok-link: no stack is named\n  -> give --stack NAME, or --local for `make run`\n"
    )


def test_without_credentials_it_says_so(run: Run) -> None:
    said = run("doctor", "--stack", "nowhere", "--region", "eu-west-1", where="")

    assert said.code == 2
    assert "Unable to locate credentials" in said.err
