"""The process whose CPU is measured: `python -m benchmarks.renewal.measured <what> <in> <out>`.

It is warm when counting begins: modules are loaded, connections are open and keys are in memory,
as in a function that has run before. What it prints of the product's log goes where the caller
sends it; formatting and writing it is counted.
"""

from __future__ import annotations

import json
import os
import resource
import ssl
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import certifi

from benchmarks.renewal.invoking import Context, handler, queue_event
from benchmarks.renewal.tiktok import CLIENT_KEY, CLIENT_SECRET

TOKEN_PATH = "/v2/oauth/token/"  # noqa: S105 - a path
NAIVE_TABLE = "NaiveAccounts"
NAIVE_KEY = "alias/naive"


@dataclass(frozen=True, slots=True)
class Measured:
    """What renewing so many accounts took, and what the process did about TLS in all its life."""

    renewed: int
    cpu_seconds: float
    wall_seconds: float
    authorities_loaded: int
    threads: int


class _Authorities:
    """Counts how often a list of authorities is parsed: the dear part of a new connection."""

    def __init__(self) -> None:
        self.loads = 0
        original = ssl.SSLContext.load_verify_locations

        def load(context: ssl.SSLContext, *args: Any, **options: Any) -> None:
            self.loads += 1
            original(context, *args, **options)

        # mypy lets no method be replaced; here it is counted, for every library at once.
        ssl.SSLContext.load_verify_locations = load  # type: ignore[method-assign,assignment]


Renew = Callable[[Sequence[str]], None]
"""Renews accounts by grant id (ours) or by open id (the others')."""


def whole(threads: int) -> Renew:
    """The shipped function, called with batches as the queue's mapping calls it."""
    refresh = handler()

    def renew(grant_ids: Sequence[str]) -> None:
        for start in range(0, len(grant_ids), threads):
            answer = refresh(queue_event(list(grant_ids[start : start + threads])), Context())
            if answer != {"batchItemFailures": []}:
                raise AssertionError(answer)

    return renew


def post_seal_save(threads: int) -> tuple[Renew, Renew]:
    """The three steps that nobody can do without, by the shipped parts; and what comes before."""
    from tiktok_linking import bootstrap
    from tiktok_linking.accounts import Grant, Secret
    from tiktok_linking.ports import RenewedPair, Saved

    accounts, tiktok, sealing = bootstrap.accounts(), bootstrap.tiktok(), bootstrap.sealing()
    (client,) = bootstrap.credentials().candidates("default")
    opened: dict[str, tuple[Grant, Secret]] = {}
    pool = ThreadPoolExecutor(threads)

    def prepare(grant_ids: Sequence[str]) -> None:
        sealing.prepare("access", "refresh", now=bootstrap.now())
        for start in range(0, len(grant_ids), 90):
            batch = accounts.read_batch(grant_ids[start : start + 90], ())
            for grant in batch.grants.values():
                if grant.pair is None:
                    raise AssertionError("a grant without its pair")
                opened[grant.id] = (
                    grant,
                    sealing.open_refresh(
                        grant.pair, registration=grant.registration, open_id=grant.open_id
                    ),
                )

    def one(grant_id: str) -> None:
        grant, token = opened[grant_id]
        answer = tiktok.refresh(client, token, read_timeout=timedelta(seconds=20))
        pair = sealing.seal_pair(answer, registration=grant.registration, now=bootstrap.now())
        if grant.pair is None:
            raise AssertionError("a grant without its pair")
        renewed = RenewedPair(
            grant_id=grant.id,
            spent=grant.pair.fingerprint,
            write_id=os.urandom(8),
            pair=pair,
        )
        due_at = bootstrap.policy().next_due(
            grant.id,
            mode=grant.mode,
            last_used_at=grant.last_used_at,
            issued_at=pair.issued_at,
            expires_at=pair.expires_at,
            relink_by=pair.relink_by,
            now=bootstrap.now(),
        )
        saved = accounts.save_renewed(renewed, due_at=due_at, now=bootstrap.now())
        if saved is not Saved.STORED:
            raise AssertionError(saved)

    return prepare, lambda grant_ids: list(pool.map(one, grant_ids)).clear()


def naive(threads: int) -> tuple[Renew, Renew]:
    """What is written first: requests.post for each account, and KMS for each of its secrets."""
    import boto3
    import requests

    kms, dynamodb = boto3.client("kms"), boto3.client("dynamodb")
    url = os.environ["TIKTOK_API_BASE_URL"] + TOKEN_PATH
    items: dict[str, Any] = {}
    pool = ThreadPoolExecutor(threads)

    def prepare(open_ids: Sequence[str]) -> None:
        for start in range(0, len(open_ids), 100):
            keys = [{"pk": {"S": open_id}} for open_id in open_ids[start : start + 100]]
            answer = dynamodb.batch_get_item(RequestItems={NAIVE_TABLE: {"Keys": keys}})
            items.update({item["pk"]["S"]: item for item in answer["Responses"][NAIVE_TABLE]})

    def one(open_id: str) -> None:
        item = items[open_id]
        opened = kms.decrypt(CiphertextBlob=item["refresh_token"]["B"], KeyId=NAIVE_KEY)
        answer = requests.post(
            url,
            data={
                "client_key": CLIENT_KEY,
                "client_secret": CLIENT_SECRET,
                "grant_type": "refresh_token",
                "refresh_token": opened["Plaintext"].decode(),
            },
            timeout=10,
        )
        answer.raise_for_status()
        tokens = answer.json()
        sealed = {
            name: kms.encrypt(KeyId=NAIVE_KEY, Plaintext=tokens[name].encode())["CiphertextBlob"]
            for name in ("access_token", "refresh_token")
        }
        expires_at = datetime.now(UTC) + timedelta(seconds=tokens["expires_in"])
        dynamodb.put_item(
            TableName=NAIVE_TABLE,
            Item=item
            | {name: {"B": blob} for name, blob in sealed.items()}
            | {"expires_at": {"S": expires_at.isoformat()}, "scope": {"S": tokens["scope"]}},
        )

    return prepare, lambda open_ids: list(pool.map(one, open_ids)).clear()


def authlib(threads: int) -> Renew:
    """Authlib as its documents show it, a session for each account: the request alone."""
    from authlib.integrations.requests_client import OAuth2Session

    from benchmarks.renewal.tiktok import first_pair

    url = os.environ["TIKTOK_API_BASE_URL"] + TOKEN_PATH
    pool = ThreadPoolExecutor(threads)

    def one(open_id: str) -> None:
        first = first_pair(open_id, datetime.now(UTC)).refresh_token
        token = {"refresh_token": first.reveal() if first else "", "expires_at": 1}
        with OAuth2Session(
            CLIENT_KEY,
            CLIENT_SECRET,
            token=token,
            token_endpoint_auth_method="client_secret_post",  # noqa: S106 - a method
        ) as session:
            answer = session.refresh_token(url, client_key=CLIENT_KEY)
        if "access_token" not in answer:
            raise AssertionError(answer)

    return lambda open_ids: list(pool.map(one, open_ids)).clear()


def _nothing(ids: Sequence[str]) -> None:
    """What needs no preparation."""


def main() -> None:
    what, source, target = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    wanted = json.loads(source.read_text())
    authorities = _Authorities()
    # Both boto3 and requests ask certifi for their list; they are imported after this.
    certifi.where = lambda: wanted["authorities"]
    threads = wanted["threads"]
    prepare: Renew = _nothing
    if what == "whole":
        renew = whole(threads)
    elif what == "post-seal-save":
        prepare, renew = post_seal_save(threads)
    elif what == "naive":
        prepare, renew = naive(threads)
    else:
        renew = authlib(threads)
    prepare(wanted["warm"] + wanted["ids"])
    renew(wanted["warm"])

    began, began_at = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    renew(wanted["ids"])
    ended, ended_at = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()

    cpu = ended.ru_utime - began.ru_utime + ended.ru_stime - began.ru_stime
    measured = Measured(len(wanted["ids"]), cpu, ended_at - began_at, authorities.loads, threads)
    target.write_text(json.dumps(asdict(measured)))


if __name__ == "__main__":
    main()
