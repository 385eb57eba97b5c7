"""`revoke-all`: unlink every account, revoke it at TikTok, and keep the proof of each."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import requests

from tiktok_link_cli.accounts import every
from tiktok_link_cli.showing import Failed, Json, Progress, show
from tiktok_link_cli.stack import Stack, refusal

_TRIES = 3


def revoke_all(stack: Stack, args: argparse.Namespace) -> int:
    """What is unlinked is listed no more; what the state file knows as pending or failed is."""
    tenants: list[str | None] = [None, *dict.fromkeys([*stack.tenants, *args.tenant])]
    file = Path(args.state or f"revoke-all.{stack.name}.jsonl")
    proofs = _read(file, stack)
    wanted = {a["id"]: a for tenant in tenants for a in every(stack, tenant=tenant)}
    open_ids = [known for known, proof in proofs.items() if not _is_final(proof)]
    # What is listed is linked, whatever an earlier run did: its owner has come back.
    todo = [*dict.fromkeys([*wanted, *open_ids])]
    covered = "accounts without a tenant" + "".join(f", tenant {t}" for t in tenants if t)
    print(f"{len(todo)} accounts to revoke ({covered})", file=sys.stderr)
    if args.dry_run:
        show(
            {"stack": stack.name, "dry_run": True, "accounts": todo},
            [*todo, f"{len(todo)} accounts would be revoked; nothing was done"],
            as_json=args.json,
        )
        return 0
    if todo and not args.yes:
        _confirm(stack.name, len(todo))
    with _appending(file, stack) as out:
        progress = Progress("revoked", len(todo))
        for done, account_id in enumerate(todo, 1):
            proof = _proof_of(stack, account_id, wanted.get(account_id, {}))
            proofs[account_id] = proof
            print(json.dumps(proof), file=out, flush=True)
            progress.at(done)
    results = [str(proof["result"]) for proof in proofs.values()]
    counts = {result: results.count(result) for result in sorted(set(results))}
    undone = sum(not _is_final(proof) for proof in proofs.values())
    lines = [f"{result}: {number}" for result, number in counts.items()]
    lines.append(f"The proof of each account is in {file}.")
    if undone:
        lines.append(f"{undone} are not done: run the same command again.")
    show(
        {"stack": stack.name, "results": counts, "undone": undone, "proof": str(file)},
        lines,
        as_json=args.json,
    )
    return 1 if undone else 0


def _proof_of(stack: Stack, account_id: str, account: Json) -> Json:
    """Unlink one account, and say what the API said about it."""
    answer = _deleted(stack, account_id)
    proof: Json = {
        "account": account_id,
        "end_user_id": account.get("end_user_id"),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "http_status": answer.status_code,
        "request_id": answer.headers.get("apigw-requestid"),
    }
    if not answer.ok:
        return proof | {"result": "failed", "why": refusal(answer).cause}
    told = answer.json()
    revoked = told["revoked_at_tiktok"]
    result = {True: "revoked", False: "unlinked"}.get(revoked, str(revoked))
    return proof | {"result": result, "revoked_at_tiktok": revoked, "reason": told.get("reason")}


def _deleted(stack: Stack, account_id: str) -> requests.Response:
    """A repeat of DELETE finishes what the first could not, so it may be repeated."""
    for pause in range(1, _TRIES):
        answer = stack.call("DELETE", f"/v1/accounts/{account_id}", revoke="true")
        if answer.status_code not in (429, 500, 502, 503, 504):
            return answer
        time.sleep(pause)
    return stack.call("DELETE", f"/v1/accounts/{account_id}", revoke="true")


def _is_final(proof: Json) -> bool:
    return proof["result"] not in ("pending", "failed")


def _confirm(name: str, number: int) -> None:
    print(
        f"This ends {number} links, for good: each person must link again."
        f" Type the stack's name ({name}) to go on: ",
        end="",
        file=sys.stderr,
        flush=True,
    )
    if sys.stdin.readline().strip() != name:
        raise Failed("the stack's name was not typed", "nothing was done; or give --yes")


def _read(file: Path, stack: Stack) -> dict[str, Json]:
    """The proofs of earlier runs, the newest of each account."""
    if not file.exists():
        return {}
    try:
        lines = list(_lines(file))
        if not lines:
            return {}
        head, *proofs = lines
        if head["api"] != stack.api_url:
            raise Failed(
                f"{file} belongs to another stack ({head['stack']})", "give another --state FILE"
            )
        return {proof["account"]: proof for proof in proofs}
    except (ValueError, KeyError) as error:
        raise Failed(
            f"{file} is not a state file of revoke-all", "give another --state FILE"
        ) from error


def _lines(file: Path) -> Iterator[Json]:
    """Every whole line: a run that was killed may have left half of one."""
    for line in file.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            yield json.loads(line)


def _appending(file: Path, stack: Stack) -> TextIO:
    """The state file, for its owner alone, without the half line of a run that was killed."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "r+b") as raw:
        whole = raw.read().rfind(b"\n") + 1
        raw.truncate(whole)
    out = file.open("a", encoding="utf-8")
    if not whole:
        print(json.dumps({"stack": stack.name, "api": stack.api_url}), file=out, flush=True)
    return out
