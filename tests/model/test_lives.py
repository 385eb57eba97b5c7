"""Lives of links: linked, used, renewed, moved, unlinked and linked again, in any order.

Whatever fails on the way, and whoever acts in the middle: after every step, and after two clean
runs with the clock moved, what the design promises of renewal and of linking must hold.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from tests.fakes.rotating_tiktok import Rotation, Rules
from tests.model.stack import ENVIRONMENTS, Fault, Kind, Stack, faults_at, interferences_at
from tiktok_linking.accounts import RefreshMode
from tiktok_linking.renewal import Ask

T = TypeVar("T")

PEOPLE = ("ada", "bea")
END_USERS = ("u_1", "u_2")

# The calls of each function, in their order; those between which a link can be lost come thrice.
SPENDING = ("grants.take_lease", "tiktok.refresh", "journal.append", "grants.save_renewed")
RENEWAL = (
    "grants.read_batch",
    "credentials.candidates",
    "sealing.prepare",
    *SPENDING * 3,
    "sealing.seal_pair",
    "rescue.put_renewed",
    "grants.mark_recovering",
    "grants.release",
    "grants.require_relink",
    "tiktok.revoke",
)
VEND = ("links.read_link", "links.pass_deadline", "links.mark_used")
CALLBACK = (
    "sessions.consume",
    "credentials.candidates",
    "sealing.prepare",
    "tiktok.exchange",
    "authorisations.save_authorised",
    "tiktok.profile",
    "authorisations.save_account",
    "sessions.finish",
    "rescue.put_authorised",
    "tiktok.revoke",
)
UNLINK = (
    "links.read_partition",
    "links.begin_ending",
    "links.mark_unlinked",
    "links.mark_revoking",
    "credentials.candidates",
    "tiktok.revoke",
    "links.forget_tokens",
    "links.look_later",
    "revocations.put",
)
FINISH = (
    "links.read_whole",
    "links.look_later",
    "links.leave_ending",
    "credentials.candidates",
    "tiktok.revoke",
    "links.forget_tokens",
)
RESCUE = ("grants.save_renewed", "authorisations.save_authorised", "sessions.finish")


def faults(
    calls: Sequence[str], most: int = 2, *, least: int = 0
) -> st.SearchStrategy[list[Fault]]:
    """Up to so many faults and interferences at these calls."""
    breaks = st.sampled_from([fault for call in calls for fault in faults_at(call)])
    interferes = st.sampled_from([fault for call in calls for fault in interferences_at(call)])
    return st.lists(breaks | interferes, min_size=least, max_size=most)


PICK = st.integers(0, 5)
PERSON = st.sampled_from(PEOPLE)
END_USER = st.sampled_from(END_USERS)
ENVIRONMENT = st.integers(0, ENVIRONMENTS - 1)
SPANS = st.sampled_from(
    [
        timedelta(0),
        timedelta(seconds=11),
        timedelta(seconds=31),
        timedelta(seconds=90),
        timedelta(minutes=6),
        timedelta(hours=1, minutes=57),
        timedelta(hours=2, minutes=5),
        timedelta(days=1),
        timedelta(days=7),
    ]
)
RENEWAL_FAULTS = faults(RENEWAL)
LINKED_AGAIN = st.builds(Fault, st.sampled_from(UNLINK), st.just(Kind.LINKED), st.booleans()).map(
    lambda fault: [fault]
)
AT_TIKTOK = (
    "the app is removed",
    "our secret is unknown",
    "no refresh token",
    "wrong person",
)
AT_OURS = (
    "the table is away",
    "an environment is lost",
    "a message will come twice",
    "a message is sent again",
    "a mode is changed",
)
TRIES = st.lists(st.tuples(SPANS, ENVIRONMENT, faults(RENEWAL, least=1)), min_size=1, max_size=3)
RULES = st.builds(
    Rules,
    refresh_for=st.sampled_from([timedelta(days=3), timedelta(days=180)]),
    is_sliding=st.booleans(),
    rotation=st.sampled_from(Rotation),
)


class Lives(RuleBasedStateMachine):
    """One stack, one TikTok, two people, two end users who may share a person's account."""

    stack: Stack

    @initialize(rules=RULES)
    def begin(self, rules: Rules) -> None:
        self.stack = Stack(rules)
        self.stack.link(PEOPLE[0], END_USERS[0])

    # -- people and the team --------------------------------------------------------------------

    @rule(person=PERSON, end_user=END_USER, faults=faults(CALLBACK))
    def link(self, person: str, end_user: str, faults: list[Fault]) -> None:
        self.stack.link(person, end_user, faults=faults)

    @rule(person=PERSON, end_user=END_USER, faults=faults(CALLBACK, 1))
    def link_without_the_required_scope(
        self, person: str, end_user: str, faults: list[Fault]
    ) -> None:
        self.stack.link(person, end_user, faults=faults, scopes=("video.list",))

    @precondition(lambda self: self.stack.table.rows())
    @rule(pick=PICK, person=PERSON, faults=faults(CALLBACK, 1))
    def relink_with_any_account(self, pick: int, person: str, faults: list[Fault]) -> None:
        row = chosen(self.stack.table.rows(), pick)
        self.stack.link(person, row.end_user_id, faults=faults, relink_of=row.id)

    @precondition(lambda self: self.stack.table.rows())
    @rule(
        pick=PICK,
        min_ttl=st.sampled_from([timedelta(0), timedelta(minutes=5), timedelta(hours=1)]),
        rejected=st.booleans(),
        vend_faults=faults(VEND, 1),
        refresh_faults=RENEWAL_FAULTS,
        environment=ENVIRONMENT,
        span=SPANS,
    )
    def vend(
        self,
        pick: int,
        min_ttl: timedelta,
        rejected: bool,
        vend_faults: list[Fault],
        refresh_faults: list[Fault],
        environment: int,
        span: timedelta,
    ) -> None:
        self.stack.let_pass(span)
        self.stack.vend(
            chosen(self.stack.table.rows(), pick),
            min_ttl=min_ttl,
            rejected=rejected,
            faults=vend_faults,
            refresh_faults=refresh_faults,
            environment=environment,
        )

    @precondition(lambda self: self.stack.table.rows())
    @rule(
        pick=PICK,
        unlink_faults=faults(UNLINK) | LINKED_AGAIN,
        refresh_faults=faults(RENEWAL, 1),
        environment=ENVIRONMENT,
    )
    def unlink(
        self,
        pick: int,
        unlink_faults: list[Fault],
        refresh_faults: list[Fault],
        environment: int,
    ) -> None:
        self.stack.unlink(
            chosen(self.stack.table.rows(), pick),
            faults=unlink_faults,
            refresh_faults=refresh_faults,
            environment=environment,
        )

    # -- renewal --------------------------------------------------------------------------------

    @precondition(lambda self: self.stack.table.grants())
    @rule(pick=PICK, tries=TRIES)
    def renew(self, pick: int, tries: list[tuple[timedelta, int, list[Fault]]]) -> None:
        grant = chosen(self.stack.table.grants(), pick)
        for span, environment, faults in tries:
            self.stack.let_pass(span)
            self.stack.renew(grant, Ask(rejected=True), faults=faults, environment=environment)

    @precondition(lambda self: self.stack.table.grants())
    @rule(pick=PICK, lag=st.sampled_from([0, 10, 20]), away=SPANS, tries=TRIES)
    def renew_with_the_table_gone_after_the_answer(
        self,
        pick: int,
        lag: int,
        away: timedelta,
        tries: list[tuple[timedelta, int, list[Fault]]],
    ) -> None:
        grant = chosen(self.stack.table.grants(), pick)
        self.stack.rescue_lag = timedelta(seconds=lag)
        self.stack.let_pass(timedelta(seconds=90))
        gone = Fault("grants.save_renewed", Kind.OUTAGE)
        self.stack.renew(grant, Ask(rejected=True), faults=[gone])
        self.stack.lose_the_table(away)
        for span, environment, faults in tries:
            self.stack.let_pass(span)
            self.stack.renew(grant, Ask(rejected=True), faults=faults, environment=environment)

    @rule(faults=RENEWAL_FAULTS, environment=ENVIRONMENT)
    def run_the_schedule(self, faults: list[Fault], environment: int) -> None:
        self.stack.run_schedule(faults=faults, environment=environment)

    @rule(faults=faults(FINISH), environment=ENVIRONMENT)
    def finish_unlinks(self, faults: list[Fault], environment: int) -> None:
        self.stack.finish_unlinks(faults, environment=environment)

    @rule(faults=faults(RESCUE, 1), is_last_first=st.booleans())
    def deliver_the_rescue_queue(self, faults: list[Fault], is_last_first: bool) -> None:
        self.stack.deliver_rescue(faults, is_last_first=is_last_first)

    # -- the world ------------------------------------------------------------------------------

    @rule(span=SPANS)
    def let_pass(self, span: timedelta) -> None:
        self.stack.let_pass(span)

    @rule(person=PERSON, what=st.sampled_from(AT_TIKTOK))
    def happen_at_tiktok(self, person: str, what: str) -> None:
        if what == "the app is removed":
            self.stack.tiktok.remove(person)
        elif what == "our secret is unknown":
            self.stack.lose_the_registration()
        else:
            self.stack.tiktok.oddities.append(what)

    @rule(what=st.sampled_from(AT_OURS), pick=PICK, environment=ENVIRONMENT, span=SPANS)
    def happen_here(self, what: str, pick: int, environment: int, span: timedelta) -> None:
        stack = self.stack
        if what == "the table is away":
            stack.lose_the_table(span)
        elif what == "an environment is lost":
            stack.lose_environment(environment)
        elif what == "a message will come twice" and stack.parcels:
            chosen(stack.parcels, pick).times_left += 1
        elif what == "a message is sent again" and stack.landed:
            stack.redrive(chosen(stack.landed, pick))
        elif what == "a mode is changed" and stack.table.rows():
            stack.set_mode(chosen(stack.table.rows(), pick), chosen(list(RefreshMode), pick))

    # -- what must hold -------------------------------------------------------------------------

    @rule()
    def two_clean_runs_settle_everything(self) -> None:
        self.stack.meet_again()
        wrongs = self.stack.audit_after_clean_runs()
        assert not wrongs, "; ".join(wrongs)

    @invariant()
    def nothing_is_wrong(self) -> None:
        if hasattr(self, "stack"):
            wrongs = self.stack.audit()
            assert not wrongs, "; ".join(wrongs)

    def teardown(self) -> None:
        if hasattr(self, "stack") and not self.stack.audit():
            self.two_clean_runs_settle_everything()


def chosen(among: Sequence[T], pick: int) -> T:
    return among[pick % len(among)]


# The same lives in every run, and no verdict on how fast a busy machine is. A long search:
#   MODEL_EXAMPLES=20000 .venv/bin/python -m pytest tests/model
SEARCHED = int(os.environ.get("MODEL_EXAMPLES", "0"))
STEADY = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=250,
    stateful_step_count=30,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)

TestLives = Lives.TestCase
TestLives.settings = (
    settings(STEADY, derandomize=False, max_examples=SEARCHED, stateful_step_count=50)
    if SEARCHED
    else STEADY
)
