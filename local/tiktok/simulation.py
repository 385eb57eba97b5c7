"""All of the simulated TikTok together, with the operations that people and tests control."""

import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime

from local.tiktok.authorization import (
    CANCELLED,
    NOT_ELIGIBLE,
    AuthorizeRequest,
    CallbackError,
    CallbackRefused,
    PageRefused,
    check_target,
    error_url,
    success_url,
)
from local.tiktok.faults import Faults
from local.tiktok.ledger import Ledger
from local.tiktok.people import BUILT_IN_PEOPLE, Person, Standing
from local.tiktok.portal import BASIC_SCOPE, App, PortalRefused
from local.tiktok.settings import Settings
from local.tiktok.webhooks import AUTHORIZATION_REMOVED, REASONS, Outbox, removal

# What `calls` always shows, so that an untouched endpoint reads 0.
_COUNTED = (
    "authorize",
    "token",
    "token.authorization_code",
    "token.refresh_token",
    "token.client_credentials",
    "revoke",
    "user_info",
    "video_list",
)

# Nobody's id: what `other_open_id_on_refresh` answers with.
OTHER_OPEN_ID = "ffffffff-0000-4000-8000-other0person"


class ControlRefused(ValueError):
    """A control was asked for something that does not exist or makes no sense."""


class NotKnown(ControlRefused):
    """There is no such person, app or event."""


class TikTok:
    """One simulated TikTok: its apps, its users, its memory and its mood."""

    def __init__(
        self,
        apps: Iterable[App],
        *,
        now: Callable[[], datetime],
        people: Iterable[Person] = BUILT_IN_PEOPLE,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.now = now
        self.sleep = sleep
        self._lock = threading.Lock()
        self._first_apps = {app.client_key: app for app in apps}
        self._first_people = {person.name: person for person in people}
        self._apps = dict(self._first_apps)
        self._people = dict(self._first_people)
        self._settings = Settings()
        self._calls: Counter[str] = Counter()
        # Browsers that visited: who is logged in there, None after logging out.
        self._browsers: dict[str, str | None] = {}
        self.faults = Faults()
        self.ledger = Ledger(now=now, settings=lambda: self.settings)
        self.outbox = Outbox(now=now, settings=lambda: self.settings, app=self.app)

    # Settings and counts

    @property
    def settings(self) -> Settings:
        return self._settings

    def change_settings(self, changes: Mapping[str, object]) -> Settings:
        with self._lock:
            self._settings = self._settings.changed(changes)
            return self._settings

    def count(self, *endpoints: str) -> None:
        with self._lock:
            self._calls.update(endpoints)

    def calls(self) -> dict[str, int]:
        with self._lock:
            return {**dict.fromkeys(_COUNTED, 0), **self._calls}

    def reset_calls(self) -> None:
        with self._lock:
            self._calls.clear()

    def state(self) -> dict[str, object]:
        return {
            "grants": self.ledger.grants(),
            "tokens": self.ledger.tokens(),
            "calls": self.calls(),
        }

    def reset(self) -> None:
        """Back to the first moment: as started, with nothing granted and nothing failing."""
        with self._lock:
            self._apps = dict(self._first_apps)
            self._people = dict(self._first_people)
            self._settings = Settings()
            self._calls.clear()
            self._browsers.clear()
        self.faults.clear()
        self.ledger.clear()
        self.outbox.clear()

    # Apps and people

    def app(self, client_key: str) -> App | None:
        with self._lock:
            return self._apps.get(client_key)

    def apps(self) -> list[App]:
        with self._lock:
            return list(self._apps.values())

    def change_app(self, name_or_key: str, changes: Mapping[str, object]) -> App:
        """Change a registration as its developer would in the portal, secret included."""
        changeable = ("client_secret", "webhook_url", "target_users", "approved", "scopes", "title")
        if unknown := sorted(set(changes) - set(changeable)):
            raise ControlRefused(
                f"cannot change {', '.join(unknown)}; can change {', '.join(changeable)}"
            )
        with self._lock:
            for app in self._apps.values():
                if name_or_key in (app.client_key, app.name):
                    merged = {name: getattr(app, name) for name in App.__dataclass_fields__}
                    try:
                        changed = App.from_mapping({**merged, **changes})
                    except PortalRefused as error:
                        raise ControlRefused(str(error)) from error
                    self._apps[app.client_key] = changed
                    return changed
        raise NotKnown(f"no app {name_or_key}")

    def people(self) -> list[Person]:
        with self._lock:
            return list(self._people.values())

    def person(self, name: str) -> Person | None:
        with self._lock:
            return self._people.get(name)

    def add_person(self, name: str, display_name: str | None = None) -> Person:
        if not name:
            raise ControlRefused("a person needs a name")
        person = Person(name, display_name or name, name, "added by a control")
        with self._lock:
            if name in self._people:
                raise ControlRefused(f"{name} is there already")
            self._people[name] = person
        return person

    def account(self, open_id: str) -> tuple[App, Person]:
        """Whose open_id this is, and with which app."""
        for app in self.apps():
            for person in self.people():
                if person.open_id(app.client_key) == open_id:
                    return app, person
        raise NotKnown(f"no user has open_id {open_id}")

    # Browsers

    def who_is_logged_in(self, browser: str | None) -> Person | None:
        """The user of a browser; a new browser may be taken to have one."""
        with self._lock:
            if browser is not None and browser in self._browsers:
                name = self._browsers[browser]
                return self._people.get(name) if name else None
            if self._settings.login == "assumed":
                return next(iter(self._people.values()), None)
            return None

    def has_session(self, browser: str | None) -> bool:
        with self._lock:
            return browser is not None and self._browsers.get(browser) is not None

    def log_in(self, person: Person | None, browser: str | None) -> str:
        """Let a browser be somebody's (nobody's with None); answers its cookie."""
        with self._lock:
            # Only cookies given out here: a made-up one must not become a session.
            known = browser if browser is not None and browser in self._browsers else None
            cookie = known or secrets.token_urlsafe(16)
            self._browsers[cookie] = person.name if person else None
            return cookie

    # Consent

    def check(self, request: AuthorizeRequest, person: Person | None = None) -> App:
        """The asking app, after every check; that of the person where it is known who it is."""
        app = request.check(self.app(request.client_key), self.settings)
        if person is not None:
            check_target(app, person, self.settings)
        request.check_proof_key(app)
        return app

    def skips_consent(self, request: AuthorizeRequest, app: App, person: Person) -> bool:
        """A user who allowed all of it before is sent straight back [web]."""
        return (
            not request.always_ask
            and person.standing is Standing.GOOD
            and self.ledger.has_granted(app, person, request.scopes)
        )

    def approve(
        self, request: AuthorizeRequest, app: App, person: Person, scopes: Collection[str]
    ) -> str:
        """Where the browser goes when the person allows these scopes.

        Raises:
            PageRefused: TikTok keeps the browser on a page of its own.
        """
        try:
            check_target(app, person, self.settings)
        except CallbackRefused as refused:
            return error_url(request, refused.reason, self.settings)
        if person.standing is Standing.CLOSED:
            raise PageRefused("user", f"Nobody can log in to this account: {person.note}.")
        if person.standing is Standing.NOT_ELIGIBLE:
            return error_url(request, NOT_ELIGIBLE, self.settings)
        granted = tuple(s for s in request.scopes if s in scopes or s == BASIC_SCOPE)
        code = self.ledger.issue_code(
            app,
            person,
            granted,
            redirect_uri=request.redirect_uri,
            code_challenge=request.code_challenge,
        )
        return success_url(request, code, granted, self.settings)

    def send_back(self, request: AuthorizeRequest, reason: CallbackError = CANCELLED) -> str:
        """Where the browser goes with an error."""
        return error_url(request, reason, self.settings)

    def consent(
        self,
        authorize_url: str,
        *,
        person: Person | None = None,
        approve_scopes: Collection[str] | None = None,
        deny_scopes: Collection[str] = (),
        reason: CallbackError | None = None,
    ) -> str:
        """Do what a person would do in a browser, and answer the URL that it is sent to.

        With a `reason` the person does not consent and the callback carries that error.
        """
        self.count("authorize")
        request = AuthorizeRequest.from_url(authorize_url)
        try:
            app = self.check(request, person)
        except CallbackRefused as refused:
            return self.send_back(request, refused.reason)
        if reason is not None:
            return self.send_back(request, reason)
        asked = set(request.scopes)
        if unknown := ({*(approve_scopes or ()), *deny_scopes} - asked):
            raise ControlRefused(f"the app does not ask for {', '.join(sorted(unknown))}")
        if BASIC_SCOPE in deny_scopes:
            raise ControlRefused(f"{BASIC_SCOPE} cannot be switched off")
        wanted = asked if approve_scopes is None else set(approve_scopes)
        chosen = person or next(iter(self.people()))
        return self.approve(request, app, chosen, wanted - set(deny_scopes))

    # Endings

    def remove(self, open_id: str, reason: int = 1) -> int:
        """End what a user allowed an app, for one of TikTok's reasons, and tell the app.

        The access token is dead before the webhook arrives [events].
        """
        if reason not in REASONS or isinstance(reason, bool):
            raise ControlRefused("reason must be a whole number from 0 to 5")
        app, _ = self.account(open_id)
        ended = self.ledger.end(app.client_key, open_id)
        if ended:
            self.outbox.add(app, AUTHORIZATION_REMOVED, removal(reason), open_id=open_id)
            self.outbox.send_new()
        return ended

    def leave_scopes(self, open_id: str, scopes: Iterable[str]) -> int:
        """Take scopes away from a living grant, as a user can at any time [scopes]."""
        app, _ = self.account(open_id)
        return self.ledger.narrow(app.client_key, open_id, {BASIC_SCOPE, *scopes})

    def revoke(self, app: App, access_token: str) -> None:
        """The app's own revocation; TikTok tells the app of it as reason 5 [events]."""
        grant = self.ledger.revoke(app, access_token=access_token)
        if self.outbox.add(app, AUTHORIZATION_REMOVED, removal(5), open_id=grant.open_id):
            # Not within the request: the receiver may be what is waiting for our answer.
            threading.Thread(target=self.outbox.send_new, daemon=True).start()

    def announce(
        self, app: App, event: str, content: str, *, open_id: str | None, created_at: datetime
    ) -> bool:
        """Send any event, for receivers that must take what they do not know."""
        queued = self.outbox.add(app, event, content, open_id=open_id, created_at=created_at)
        self.outbox.send_new()
        return queued
