"""Deliberate sabotage of the product, and the cases that must notice it.

    python -m tests.faults.mutants     # each mutant, its cases, and how they end

A sweep that finds nothing wrong shows something only if it would find it. Each mutant here is a
mistake that the design fears, made by exact replacements in a copy of the sources. A world runs
that copy; a handful of cases, each with its oracle, end right in the product as it is, and at
least one of them ends wrong in the mutant (tests/faults/test_mutants.py).

One world serves all: its template lies in a folder whose `functions` and `layers` are links to the
version that runs, and a process that runs another version is replaced by a fresh one.
"""

from __future__ import annotations

import compileall
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from local.configuration import ROOT
from local.testing import WorldHandle, running_world
from tests.faults.people import ACCESS_SECONDS, Stage
from tests.faults.window import AT_TIKTOK, RENEWAL, REST, Observer, listed
from tiktok_linking.accounts import split_account_id

_CODE = ("functions", "layers")
_ORDINARY: Mapping[str, Any] = {
    "rotation": "strict",
    "second_authorization": "replaces",
    "omit_refresh_token": False,
    "access_seconds": ACCESS_SECONDS,
}
_PATIENCE_SECONDS = 20

OK = "ok"


class DoesNotFit(Exception):
    """A replacement whose text does not stand in the source exactly once."""


@dataclass(frozen=True, slots=True)
class Change:
    """One exact replacement in one file of the package."""

    file: str
    old: str
    new: str

    def apply(self, root: Path) -> None:
        path = root / "layers/linking/tiktok_linking" / self.file
        source = path.read_text()
        found = source.count(self.old)
        if found != 1:
            raise DoesNotFit(
                f"{self.file} holds this {found} times, not once; the code has changed, so must"
                f" the mutant in tests/faults/mutants.py:\n{self.old}"
            )
        path.write_text(source.replace(self.old, self.new))


# -- the world -----------------------------------------------------------------------------------


class Theatre:
    """A world whose product can be exchanged for a version of it."""

    def __init__(self, world: WorldHandle, folder: Path) -> None:
        self.world = world
        self.stage = Stage(world)
        self.folder = folder
        self._save: int | None = None
        self._concerned: frozenset[str] = frozenset()

    def play(self, name: str, changes: Sequence[Change], functions: frozenset[str]) -> None:
        """Run this version from here on.

        It concerns these functions alone: their processes are replaced, and those of the functions
        that the version before it concerned.
        """
        _provide(self.folder, name, changes)
        for function in functions | self._concerned:
            self.world.arm_fault(function, cold=True)
            self.world.invoke(f"{function.capitalize()}Function", {"Records": []})
        self._concerned = functions

    def settings(self, **changed: Any) -> None:
        """The built-in TikTok's settings, those that were not given being the ordinary ones."""
        self.world.tiktok("POST", "/settings", {**_ORDINARY, **changed})

    def account(self) -> str:
        """Somebody's linked account."""
        return self.stage.link(self.stage.person())

    def tired_account(self) -> str:
        """Somebody's linked account whose access token has died."""
        account = self.account()
        self.tire()
        return account

    def tire(self) -> None:
        self.world.advance(seconds=ACCESS_SECONDS + 100)

    def arm(self, function: str, kind: str, **fault: Any) -> None:
        """A fault in the next invocation of a function."""
        self.world.arm_fault(function, kind=kind, **fault)

    def arm_call(self, function: str, kind: str, call: int, **fault: Any) -> None:
        """A fault at a numbered call, in a fresh process as the numbers were taken in."""
        self.world.arm_fault(function, kind=kind, call=call, cold=True, **fault)

    def number(self, function: str, call: str, act: Callable[[], Any]) -> int:
        """Which call of a cold run without a fault this is, the last one if there are several."""
        self.world.arm_fault(function, cold=True)
        act()
        trace = self.world.trace(function)
        return len(trace) - trace[::-1].index(call)

    def save(self) -> int:
        """The save's number in a renewal; no mutant makes more or fewer calls before it."""
        if self._save is None:
            account = self.tired_account()
            act = partial(self.stage.vend, account)
            self._save = self.number("refresh", "dynamodb.UpdateItem", act)
        return self._save

    def renew(self, account: str) -> None:
        """Ask the one door itself, without the patience that a hand-out has."""
        parts = split_account_id(account)
        assert parts is not None, account
        event = {"job": "renew", "grant": parts[0], "min_ttl_seconds": 300}
        self.world.invoke("RefreshFunction", event)

    def lose_environments(self) -> None:
        """Empty the temporary folders, as a new execution environment has them."""
        for journal in (self.world.directory / "local/tmp").glob("*/*/journal"):
            for kept in journal.iterdir():  # the folder itself is the process's
                kept.unlink()

    def end_of(self, account: str) -> str:
        """Two clean runs with the clock moved, then whether TikTok takes what the stack vends."""
        for _ in range(2):
            self.world.advance(seconds=REST)
            self.stage.vend(account)
        answer = self.stage.vend(account)
        body = answer.json()
        if answer.status_code == 200:
            alive = self.stage.is_alive(body["access_token"])
            return OK if alive else "silent loss: TikTok does not know the token that was vended"
        if body.get("code") == "relink_required":
            return f"relink asked for: {body.get('reason')}"
        return f"silent loss: {answer.status_code} {body.get('code')}"


def _provide(folder: Path, name: str, changes: Sequence[Change]) -> None:
    """Make the version and point the world's links at it."""
    version = folder / "versions" / name
    shutil.copytree(folder / "versions/product", version, dirs_exist_ok=True)
    for change in changes:
        change.apply(version)
    for part in _CODE:
        link = folder / part
        link.unlink(missing_ok=True)
        link.symlink_to(version / part)


@contextmanager
def theatre() -> Iterator[Theatre]:
    """A world of its own that runs the product as it is, until it is told otherwise."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(ROOT / "template.yaml", folder)
        for part in _CODE:
            shutil.copytree(ROOT / part, folder / "versions/product" / part)
        compileall.compile_dir(folder / "versions", quiet=2)  # once, and not in each version
        _provide(folder, "first", ())
        template = str(folder / "template.yaml")
        with running_world(SCOPES_OPTIONAL="", TEMPLATE_FILE=template) as world:
            yield Theatre(world, folder)


# -- cases ---------------------------------------------------------------------------------------

Case = Callable[[Theatre], str]
"""One story of one account; answers "ok", or what went wrong."""


def killed_at_the_profile_of_a_second_link(at: Theatre) -> str:
    """A person with a healthy account links it again, and does not press the button once more."""
    person = at.stage.person()
    account = at.stage.link(person)
    profile = at.number("callback", "tiktok.user_info", at.account)
    _, callback, cookie = at.stage.to_callback(person)
    at.arm_call("callback", "kill_before", profile)
    at.stage.come_back(callback, cookie)
    return at.end_of(account)


def frozen_while_another_recovers(at: Theatre) -> str:
    """A worker freezes with the answer unread; another takes over and flags; the first wakes up."""
    account = at.tired_account()
    with _frozen(at, account):
        for _ in range(2):
            at.world.advance(seconds=REST)
            at.stage.vend(account)
    return at.end_of(account)


def server_error_before_anything_happened(at: Theatre) -> str:
    """TikTok answers 500 and has done nothing."""
    account = at.tired_account()
    at.arm("refresh", "500_before", **AT_TIKTOK)
    at.stage.vend(account)
    return at.end_of(account)


def reply_to_the_save_lost(at: Theatre) -> str:
    """DynamoDB has saved and its reply is lost: the write is repeated and fails its condition."""
    account = at.tired_account()
    at.arm_call("refresh", "lose_reply", at.save())
    at.stage.vend(account)
    return at.end_of(account)


def killed_before_the_save(at: Theatre) -> str:
    """The process ends between the journal and the table; its temporary folder stays."""
    account = at.tired_account()
    at.arm_call("refresh", "kill_before", at.save())
    at.stage.vend(account)
    return at.end_of(account)


def table_away_and_environment_gone(at: Theatre) -> str:
    """The save fails to the end of the time, and the environment with its journal goes away."""
    account = at.tired_account()
    at.arm_call("refresh", "refuse", at.save(), onwards=True, service="dynamodb")
    _vend_through_outage(at, account)
    at.world.settle()
    at.lose_environments()
    return at.end_of(account)


def vend_while_the_pair_lies_in_the_rescue_queue(at: Theatre) -> str:
    """The table is back after the lease's end; a vend comes before the queue's next delivery."""
    at.settings(rotation="family")
    account = at.tired_account()
    open_id = at.stage.account(account)["open_id"]
    at.arm("rescue", "refuse", call=1, onwards=True, service="dynamodb")
    at.arm_call("refresh", "refuse", at.save(), onwards=True, service="dynamodb")
    _vend_through_outage(at, account)
    _until(lambda: bool(at.world.calls()["rescue"]))
    at.arm("rescue", "refuse", call=1, onwards=True, service="dynamodb")  # not before the vend
    at.lose_environments()
    at.world.advance(seconds=REST)
    at.stage.vend(account)
    at.world.arm_fault("rescue")
    if not at.stage.has_grant(open_id):
        return "silent loss: a spent token was sent again and TikTok ended the grant"
    at.world.settle()
    return at.end_of(account)


def two_at_once_where_reuse_ends_the_grant(at: Theatre) -> str:
    """A second renewal comes while the first has its answer and has not saved yet."""
    at.settings(rotation="family")
    account = at.tired_account()
    with _frozen(at, account):
        at.renew(account)
    return at.end_of(account)


def answer_without_a_refresh_token(at: Theatre) -> str:
    """TikTok renews and leaves the refresh token out: the one that was sent stays."""
    at.settings(omit_refresh_token=True)
    account = at.tired_account()
    at.stage.vend(account)
    at.settings()
    at.tire()
    return at.end_of(account)


def window_is_as_listed(at: Theatre) -> str:
    """Between TikTok's answer and the journal nothing runs but what window.txt lists."""
    observer = Observer(at.stage, at.folder)
    tape = observer.renewals(at.account(), 1, traced=True)[0]
    known = set(listed()[RENEWAL])
    new = [str(s) for s in tape.statements(at.folder) if str(s) not in known]
    return "; ".join([*new, *tape.forbidden()]) or OK


@contextmanager
def _frozen(at: Theatre, account: str) -> Iterator[None]:
    """A renewal whose worker has heard TikTok and stands still until the block ends."""
    at.arm("refresh", "hold", when="after", **AT_TIKTOK)
    first = threading.Thread(target=at.renew, args=(account,))
    first.start()
    try:
        assert at.world.wait_until_held("refresh")
        at.world.arm_fault("refresh", cold=True)  # whoever comes next runs this version too
        yield
    finally:
        at.world.release()
        first.join()


def _vend_through_outage(at: Theatre, account: str) -> None:
    """Vend while the save is refused, and end the renewal's time once it has been repeated."""
    at.world.forget_calls()
    vend = threading.Thread(target=at.stage.vend, args=(account,))
    vend.start()
    _until(lambda: at.world.calls()["refresh"].get("dynamodb.UpdateItem", 0) > 2)
    at.world.advance(seconds=27)
    vend.join()


def _until(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + _PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < ends, "it did not come to that"
        time.sleep(0.01)


# -- mutants -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mutant:
    """A mistake: what it is, how it is made, and the cases that watch for it."""

    name: str
    changes: tuple[Change, ...]
    cases: tuple[Case, ...]
    shows: str
    """What the end of a case says then, in part."""
    functions: frozenset[str] = frozenset({"refresh"})
    """Those in which the mistake can be seen."""


MUTANTS = (
    Mutant(
        "the profile is fetched before the save",
        (
            Change(
                "linking.py",
                "        try:\n            is_new = session.relink_account_id is None\n",
                "        early = self.tiktok.profile(answer.access_token, now=self.now())\n"
                "        try:\n            is_new = session.relink_account_id is None\n",
            ),
            Change(
                "linking.py",
                "profile = self.tiktok.profile(answer.access_token, now=self.now())\n"
                "                account",
                "profile = early\n                account",
            ),
        ),
        (killed_at_the_profile_of_a_second_link,),
        "TikTok does not know the token",
        frozenset({"callback"}),
    ),
    Mutant(
        "the save asks for the lease",
        (
            Change(
                "renewal.py",
                "write_id=secrets.token_bytes(8),",
                "write_id=bytes.fromhex(owner),",
            ),
            Change(
                "adapters/account_table.py",
                'condition="fp = :spent",\n                values={":spent": renewed.spent},',
                'condition="fp = :spent AND lo = :owner",\n'
                '                values={":spent": renewed.spent,'
                ' ":owner": renewed.write_id.hex()},',
            ),
        ),
        (frozen_while_another_recovers,),
        "relink asked for: rotation_lost",
    ),
    Mutant(
        "a server error counts as a refusal",
        (
            Change(
                "oauth.py",
                "    raise Unavailable(error, may_have_acted=True, retry_after=wait,"
                " log_id=log_id)\n",
                '    raise Refused("invalid_grant", log_id=log_id)\n',
            ),
        ),
        (server_error_before_anything_happened,),
        "relink asked for: refresh_token_rejected",
    ),
    Mutant(
        "a failed condition counts as a lost race",
        (
            Change(
                "adapters/account_table.py",
                '            if failed.old.get("wi") == renewed.write_id:\n'
                '                return Saved.REVIVED if "rs" in failed.old else Saved.STORED\n'
                '            return Saved.NEWER if "fp" in failed.old else Saved.ENDED\n',
                "            del failed\n            return Saved.ENDED\n",
            ),
        ),
        (reply_to_the_save_lost,),
        "TikTok does not know the token",
    ),
    Mutant(
        "no journal",
        (Change("renewal.py", "self.journal.append(renewed)", "pass"),),
        (killed_before_the_save,),
        "relink asked for: rotation_lost",
    ),
    Mutant(
        "no rescue queue",
        (Change("renewal.py", "self.rescue.put_renewed(renewed)", "pass"),),
        (table_away_and_environment_gone,),
        "relink asked for: rotation_lost",
    ),
    Mutant(
        "a loser sends a request of its own",
        (
            Change(
                "renewal.py",
                "            return RenewalReport(Outcome.FRESH)\n"
                "        if grant.is_leased(now):\n",
                "            return RenewalReport(Outcome.FRESH)\n        if False:\n",
            ),
            Change(
                "adapters/account_table.py",
                'condition=f"fp = :fp AND {_NO_LIVE_LEASE} AND {intent} AND {ended}"',
                'condition=f"fp = :fp AND :now = :now AND {intent} AND {ended}"',
            ),
            Change(
                "renewal.py",
                "if grant.intent is None or grant.pair is None or",
                "if grant.is_leased(self.now()) or grant.intent is None or grant.pair is None or",
            ),
        ),
        (two_at_once_where_reuse_ends_the_grant,),
        "relink asked for: rotation_lost",
    ),
    Mutant(
        "an answer without a refresh token empties it",
        (
            Change(
                "renewal.py",
                "refresh_token=answer.refresh_token or refresh_token,",
                'refresh_token=answer.refresh_token or Secret(""),',
            ),
        ),
        (answer_without_a_refresh_token,),
        "client_credentials_invalid",
    ),
    Mutant(
        "a log line before the journal",
        (
            Change(
                "renewal.py",
                "        with contextlib.suppress(StoreUnavailable):\n"
                "            self.journal.append(renewed)",
                '        logger.info("renewed", extra={"grant": grant.id})\n'
                "        with contextlib.suppress(StoreUnavailable):\n"
                "            self.journal.append(renewed)",
            ),
        ),
        (window_is_as_listed,),
        "log Logger._log",
    ),
    # The last, since it leaves a message behind that the queue delivers ten seconds later.
    Mutant(
        "no wait for the rescue queue",
        (Change("renewal.py", "if since + RECOVERY_WAIT > now:", "if since > now:"),),
        (vend_while_the_pair_lies_in_the_rescue_queue,),
        "a spent token was sent again",
    ),
)


def play_all(at: Theatre, mutants: Sequence[Mutant] = MUTANTS) -> dict[Case, str]:
    """Every case of these mutants in the product as it is."""
    at.play("as-it-is", (), frozenset())
    cases = dict.fromkeys(case for mutant in mutants for case in mutant.cases)
    return {case: _play(at, case) for case in cases}


def play(at: Theatre, mutant: Mutant) -> dict[Case, str]:
    """The cases of a mutant in the mutant."""
    at.play(mutant.name.replace(" ", "-"), mutant.changes, mutant.functions)
    return {case: _play(at, case) for case in mutant.cases}


def _play(at: Theatre, case: Case) -> str:
    at.settings()
    return case(at)


def main() -> int:
    """Print how each mutant's cases end in the product and in the mutant."""
    survived = 0
    with theatre() as at:
        product = play_all(at)
        print("| mutant | case | the product | the mutant |\n|---|---|---|---|")
        for mutant in MUTANTS:
            ends = play(at, mutant)
            for case, end in ends.items():
                name = case.__name__.replace("_", " ")
                print(f"| {mutant.name} | {name} | {product[case]} | {end} |", flush=True)
            survived += not any(mutant.shows in end for end in ends.values())
    wrong = sum(end != OK for end in product.values())
    return 1 if wrong or survived else 0


if __name__ == "__main__":
    sys.exit(main())
