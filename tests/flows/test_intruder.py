"""An intruder who has README and openapi.yaml, and whatever addresses, states and codes leaked."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from urllib.parse import urlencode, urlsplit

import pytest
import requests

from tests.flows.http_browser import HttpBrowser
from tests.flows.journey import Journey, query_of, to_consent
from tests.flows.test_completion import Attempt, code_of
from tests.flows.test_linking import consented, depart, token_calls


def asked(journey: Journey, method: str, target: str) -> str:
    """What the gateway answers to this request line, sent as it stands and unsigned."""
    place = urlsplit(journey.world.endpoints["gateway"])
    assert place.hostname is not None
    head = f"{method} {target} HTTP/1.1\r\nHost: {place.netloc}\r\nX-HTTP-Method-Override: GET\r\n"
    with socket.create_connection((place.hostname, place.port), timeout=35) as wire:
        wire.sendall(f"{head}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
        with wire.makefile("rb") as stream:
            return stream.read().decode("utf-8", "replace")


def cookie_of(browser: HttpBrowser) -> tuple[tuple[str, str], str]:
    """A browser's binding cookie."""
    (found,) = [item for item in browser.cookies.items() if "__Host-ttl_" in item[0][1]]
    return found


# -- doors --------------------------------------------------------------------------------------

SPELLINGS = [
    "//v1/accounts",
    "/v1//accounts",
    "/v1%2faccounts",
    "/%76%31/accounts",
    "/V1/accounts",
    "/v1/accounts/",
    "/v1/accounts;a=b",
    "/connect/../v1/accounts",
    "/connect/..;/v1/accounts",
    "/connect/%2e%2e%2fv1%2faccounts",
    "/connect/..%2f..%2fv1/accounts",
    "/v1/accounts/%2e%2e",
    "/v1/accounts/{account}%00",
    "/..%2f..%2ftemplate.yaml",
    "/.env",
    "/%00",
    "/%zz",
    "http://other.example/v1/accounts",
    "/v1/accounts/{account}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=" + "0" * 64,
]


def test_no_spelling_of_a_path_opens_a_signed_route(
    journey: Journey, end_user: str, person: str
) -> None:
    account = journey.link(end_user, person).account_id

    for spelling in SPELLINGS:
        answer = asked(journey, "GET", spelling.format(account=account))

        assert re.match(r"HTTP/1.1 40[34] ", answer), (spelling, answer[:80])
        assert end_user not in answer, spelling
        assert "Traceback" not in answer, spelling


def test_no_method_but_the_declared_one_does_anything(journey: Journey, end_user: str) -> None:
    begun = journey.backend.begin(end_user)
    targets = [f"/connect/{begun['id']}", f"/connect/{begun['id']}/status", "/authorize"]
    targets += ["/callback", "/tiktok.txt"]
    journey.world.forget_calls()

    for target in targets:
        for method in ("HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"):
            answer = asked(journey, method, target)
            assert answer.startswith("HTTP/1.1 404 "), (method, target, answer[:80])

    assert journey.calls_of("authorize") == journey.calls_of("callback") == {}
    assert journey.backend.session(begun["id"])["status"] == "pending"


@pytest.mark.parametrize(
    "ending", ["%0d%0aSet-Cookie:%20x=y", "%0aX-Evil:%201", "%00", "%2fstatus"]
)
def test_nothing_behind_an_id_reaches_a_header_or_another_route(
    journey: Journey, end_user: str, ending: str
) -> None:
    begun = journey.backend.begin(end_user)

    answer = asked(journey, "GET", f"/connect/{begun['id']}{ending}")

    head, _, body = answer.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 404 ")
    assert not re.search(r"(?im)^(set-cookie|x-evil):", head)
    assert begun["id"] not in body


# -- ids ----------------------------------------------------------------------------------------


def told(answer: requests.Response) -> tuple[int, str, list[str]]:
    """All that an answer tells, but what is new in each: its id and its style's nonce."""
    text = re.sub(r'"request_id": "[^"]*"|Support code: <bdi>[^<]*|nonce="[^"]*"', "", answer.text)
    return answer.status_code, text, sorted(answer.headers)


def test_missing_and_malformed_ids_are_told_alike(
    journey: Journey, end_user: str, person: str
) -> None:
    """An id whose half is that of somebody's grant is one of the missing ones."""
    account = journey.link(end_user, person).account_id
    accounts = ["acct_" + "a" * 48, account[:30] + "a" * 23, account.upper(), account[:-1], "x"]
    sessions = ["ls_" + "A" * 43, "ls_" + "A" * 42, "LS_" + "A" * 43, "x"]
    asks: list[Callable[[str], requests.Response]] = [
        lambda one: journey.backend.call("GET", f"/v1/accounts/{one}"),
        lambda one: journey.backend.call("PATCH", f"/v1/accounts/{one}", {"refresh_mode": "auto"}),
        lambda one: journey.backend.call("DELETE", f"/v1/accounts/{one}"),
        lambda one: journey.backend.vend(one),
        lambda one: journey.backend.call("POST", f"/v1/accounts/{one}/relink", {}),
    ]
    code = {"completion_code": "A" * 43, "end_user_id": end_user}
    session_asks: list[Callable[[str], requests.Response]] = [
        lambda one: journey.backend.call("GET", f"/v1/link-sessions/{one}"),
        lambda one: journey.backend.call("DELETE", f"/v1/link-sessions/{one}"),
        lambda one: journey.backend.call("POST", f"/v1/link-sessions/{one}/complete", code),
        lambda one: journey.world.get(f"/connect/{one}"),
        lambda one: journey.world.get(f"/connect/{one}/status"),
        lambda one: journey.world.get(f"/authorize?n={'N' * 22}&session={one}"),
    ]

    for ids, requests_of in ((accounts, asks), (sessions, session_asks)):
        for ask in requests_of:
            answers = {json.dumps(told(ask(one))) for one in ids}

            assert len(answers) == 1, answers
            assert json.loads(answers.pop())[0] == 404
    assert journey.backend.account(account)["status"] == "active"


# -- attempts -----------------------------------------------------------------------------------


def test_cookies_of_two_attempts_do_not_stand_in_for_each_other(
    journey: Journey, new_person: Callable[[], str]
) -> None:
    first = Attempt(journey, "u_first", new_person())
    second = Attempt(journey, "u_second", new_person())
    before = token_calls(journey)
    (one, of_one), (two, of_two) = cookie_of(first.browser), cookie_of(second.browser)
    swapped = HttpBrowser()
    swapped.cookies |= {one: of_two, two: of_one}

    answer = swapped.send("GET", first.callback)

    assert token_calls(journey) == before
    assert answer.headers["Location"].startswith("/connect/")
    assert second.come_back().status_code == 303
    assert second.session["status"] == "completed"
    assert journey.backend.accounts_of("u_first") == []


def test_a_state_of_halves_is_nobodys(journey: Journey, new_person: Callable[[], str]) -> None:
    first = Attempt(journey, "u_first", new_person())
    second = Attempt(journey, "u_second", new_person())
    before = token_calls(journey)
    (key, _), (_, secret) = (
        query_of(attempt.callback)["state"].split(".") for attempt in (first, second)
    )
    both = HttpBrowser()
    both.cookies |= first.browser.cookies | second.browser.cookies
    gateway = journey.world.endpoints["gateway"]

    answer = both.send("GET", f"{gateway}/callback?code=x&state={key}.{secret}")

    assert answer.status_code == 400
    assert token_calls(journey) == before
    assert {first.session["status"], second.session["status"]} == {"started"}


@pytest.mark.parametrize(
    "registration",
    [
        "second",  # TikTok refuses a code of another app: each attempt knows its app
        "default",  # and one of another attempt, by PKCE: on loopback, where TikTok takes it
    ],
)
def test_a_code_of_another_attempt_links_nothing(
    journey: Journey, end_user: str, new_person: Callable[[], str], registration: str
) -> None:
    victims = Attempt(journey, "u_victim", new_person(), app_registration=registration)
    own = Attempt(journey, end_user, new_person())
    stolen = query_of(victims.callback)["code"]
    state = query_of(own.callback)["state"]
    query = urlencode({"code": stolen, "state": state})

    own.browser.send("GET", f"{journey.world.endpoints['gateway']}/callback?{query}")

    assert own.session["status"] == "failed"
    assert journey.backend.accounts_of(end_user) == []


def test_who_cancelled_before_does_not_see_whom_a_leaked_address_linked(
    journey: Journey, end_user: str, person: str
) -> None:
    url = journey.backend.begin(end_user)["url"]
    thief, owner = HttpBrowser(), HttpBrowser()
    thief.press(to_consent(thief, url), "Cancel")

    owner.send("GET", consented(journey, depart(journey, url, owner), person))

    assert person in owner.open(url).text
    seen = thief.open(url)
    assert person not in seen.text
    assert "already finished" in seen.text


def test_a_code_of_another_session_releases_nothing(
    journey: Journey, end_user: str, new_person: Callable[[], str]
) -> None:
    """Both sessions are the same user's, so that only the code can tell them apart."""
    first, second = (Attempt(journey, end_user, new_person(), completion="app") for _ in range(2))
    codes = [code_of(attempt.come_back()) for attempt in (first, second)]
    before = token_calls(journey)

    refused = [first.complete(codes[1]), second.complete(codes[0]), first.complete("A" * 43)]

    assert {(answer.status_code, answer.json()["code"]) for answer in refused} == {
        (400, "state_mismatch")
    }
    assert token_calls(journey) == before
    assert first.complete(codes[0]).status_code == 200
