"""authorize and callback as a browser meets them: cookies, redirects, nothing given away."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from tests.fakes.aws import client
from tests.fakes.loopback import Answer, hang_up
from tests.functions.conftest import create_session, sessions
from tests.functions.stack import (
    COOKIE,
    SESSION_ID,
    STATE_SECRET,
    RunningStack,
    body_of,
    changed,
    event,
)
from tiktok_linking.callers import Caller
from tiktok_linking.sessions import LinkSession, SessionReason, SessionStatus, session_key

STATE = f"{session_key(SESSION_ID)}.{STATE_SECRET}"
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
}


@dataclass
class Browser:
    """A browser with its cookies; it follows our own redirects and presses our own buttons."""

    stack: RunningStack
    cookies: dict[str, str] = field(default_factory=dict)

    def open(self, target: str, **headers: str) -> dict[str, Any]:
        """GET an address of ours, as somebody who types it in."""
        path, _, query = target.removeprefix("https://link.example.com").partition("?")
        parts = path.strip("/").split("/")
        sent = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"} | headers
        if parts[0] == "connect":
            key = "GET /connect/{id}" + ("/status" if len(parts) > 2 else "")
            function, parameters = "authorize", {"id": parts[1]}
        else:
            key, parameters = f"GET /{parts[0]}", {}
            function = parts[0]
        answer: dict[str, Any] = self.stack.invoke(
            function,
            changed(
                "authorize-connect-page",
                routeKey=key,
                rawPath=path,
                rawQueryString=query,
                pathParameters=parameters,
                headers=sent,
                cookies=[f"{name}={value}" for name, value in self.cookies.items()],
            ),
        )
        for line in answer.get("cookies", []):
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer

    def press(self, page: dict[str, Any], text: str = "Continue with TikTok") -> dict[str, Any]:
        """Follow the link with that text."""
        links = re.findall(r'<a [^>]*href="([^"]*)"[^>]*>([^<]*)</a>', page["body"])
        (target,) = [html.unescape(href) for href, label in links if label == text]
        return self.open(target, **{"sec-fetch-site": "same-origin"})

    def go_to_tiktok(self) -> dict[str, str]:
        """Press the button of the session's page, and give what TikTok was told."""
        answer = self.press(self.open(f"/connect/{SESSION_ID}"))
        assert answer["statusCode"] == 302
        return query_of(answer)

    def come_back(self, **query: str) -> dict[str, Any]:
        """Return from TikTok."""
        return self.open(f"/callback?{urlencode(query)}", **{"sec-fetch-site": "cross-site"})


def query_of(answer: dict[str, Any]) -> dict[str, str]:
    query = parse_qs(urlsplit(answer["headers"]["Location"]).query)
    return {name: values[0] for name, values in query.items()}


@pytest.fixture
def person(stack: RunningStack) -> Browser:
    return Browser(stack)


def writes_nothing(stack: RunningStack) -> str:
    """What is at rest now, to compare with later."""
    return stack.dump()


# -- the way there ------------------------------------------------------------------------------


def test_a_whole_link_in_one_browser(person: Browser, session: LinkSession) -> None:
    told = person.go_to_tiktok()
    person.stack.tiktok.script.extend([Answer(person.stack.pair()), Answer({}, status=500)])

    back = person.come_back(code="c*1!2.va", state=told["state"], scopes="user.info.basic")

    assert back["statusCode"] == 303
    assert query_of(back) == {"link_session": SESSION_ID}
    assert "TikTok connected" in person.open(f"/connect/{SESSION_ID}")["body"]
    status = person.open(f"/connect/{SESSION_ID}/status")
    assert body_of(status) == {"status": "completed"}


def test_opening_the_page_changes_nothing_however_often(
    person: Browser, session: LinkSession
) -> None:
    """Link previews and scanners open it before the person does."""
    before = writes_nothing(person.stack)

    for number in range(50):
        bot = ("LinkBot/1.0", "facebookexternalhit/1.1", "Slackbot-LinkExpanding 1.0")[number % 3]
        Browser(person.stack).open(f"/connect/{SESSION_ID}", **{"user-agent": bot})

    assert writes_nothing(person.stack) == before
    assert person.go_to_tiktok()


def test_pages_speak_the_browsers_language_in_the_products_look(
    person: Browser, session: LinkSession
) -> None:
    """The page of a session, one of nobody's, and a refusal of the callback alike."""
    person.stack.deploy(ACCENT_COLOR="#0b5fff", APP_LOGO="data:image/svg+xml;base64,PHN2Zy8+")
    wish = {"accept-language": "ar-EG,ar;q=0.9,en;q=0.1"}

    connect = person.open(f"/connect/{SESSION_ID}", **wish)
    nobodys = person.open("/connect/ls_x", **wish)
    refused = person.open("/callback?code=x&state=x", **wish)

    for answer in (connect, nobodys, refused):
        assert '<html lang="ar" dir="rtl">' in answer["body"]
        assert "--go:#0b5fff" in answer["body"]
    for answer in (connect, nobodys):
        assert 'src="data:image/svg+xml;base64,PHN2Zy8+"' in answer["body"]
        assert answer["headers"]["Content-Security-Policy"].endswith("; img-src data:")
    assert refused["statusCode"] == 400
    assert "img-src" not in refused["headers"]["Content-Security-Policy"]


def test_a_browser_inside_another_app_is_told_a_way_out_and_may_go_on(
    person: Browser, session: LinkSession
) -> None:
    page = person.open(f"/connect/{SESSION_ID}", **{"user-agent": "Instagram 309.0"})

    assert "Opened inside another app?" in page["body"]
    assert person.press(page)["statusCode"] == 302


def test_nothing_a_client_sends_reaches_the_authorize_url(
    person: Browser, session: LinkSession
) -> None:
    page = person.open(
        f"/connect/{SESSION_ID}?return_url=https://evil.example&scope=video.publish",
        host="evil.example",
        **{"x-forwarded-host": "evil.example", "x-forwarded-proto": "http", "forwarded": "host=x"},
    )
    assert "evil.example" not in page["body"]
    (target,) = re.findall(r'href="(/authorize[^"]*)"', page["body"])
    forged = "&scope=video.publish&redirect_uri=https%3A%2F%2Fevil.example&client_key=x"
    forged += "&disable_auto_auth=1&switch_account=1&reason=account_mismatch"

    answer = person.open(
        html.unescape(target) + forged, host="evil.example", **{"x-forwarded-host": "evil.example"}
    )

    assert answer["statusCode"] == 302
    assert query_of(answer) == {
        "client_key": "awlocaldefault",
        "response_type": "code",
        "scope": "user.info.basic",
        "redirect_uri": "https://link.example.com/callback",
        "state": query_of(answer)["state"],
    }


def test_another_tiktok_account_is_asked_for_where_one_was_refused(
    person: Browser, session: LinkSession
) -> None:
    """By what the stack remembers: nothing in the button's address says so."""
    told = person.go_to_tiktok()
    assert "disable_auto_auth" not in told
    person.come_back(error="access_denied", error_type="user_not_eligible", state=told["state"])
    page = person.open(f"/connect/{SESSION_ID}")

    again = person.press(page, "Try another TikTok account")

    assert again["statusCode"] == 302
    assert query_of(again)["disable_auto_auth"] == "1"
    (target,) = re.findall(r'href="(/authorize[^"]*)"', page["body"])
    assert set(parse_qs(urlsplit(html.unescape(target)).query)) == {"n", "session"}


def test_the_button_needs_the_nonce_of_its_page(person: Browser, session: LinkSession) -> None:
    before = writes_nothing(person.stack)

    for query in ("", "&n=", "&n=guessed", "&n=" + "x" * 200):
        answer = person.open(f"/authorize?session={SESSION_ID}{query}")
        assert (answer["statusCode"], answer["headers"]["Location"]) == (
            303,
            f"/connect/{SESSION_ID}",
        )

    assert writes_nothing(person.stack) == before


def test_the_button_of_a_session_that_is_over_leads_back_to_its_page(
    person: Browser, session: LinkSession
) -> None:
    page = person.open(f"/connect/{SESSION_ID}")
    person.stack.clock.advance(hours=1)

    answer = person.press(page)

    assert (answer["statusCode"], answer["headers"]["Location"]) == (303, f"/connect/{SESSION_ID}")
    assert person.open(answer["headers"]["Location"])["statusCode"] == 410


def test_the_button_of_a_session_that_is_gone_leads_nowhere(
    person: Browser, session: LinkSession
) -> None:
    page = person.open(f"/connect/{SESSION_ID}")
    person.stack.create_tables()

    assert person.press(page)["statusCode"] == 404


def test_a_button_that_was_sent_to_somebody_else_leads_to_the_page_first(
    person: Browser, session: LinkSession
) -> None:
    """Whoever goes to TikTok must have read whose link it is."""
    page = person.open(f"/connect/{SESSION_ID}")
    victim = Browser(person.stack)

    answer = victim.press(page)

    assert (answer["statusCode"], answer["headers"]["Location"]) == (303, f"/connect/{SESSION_ID}")


@pytest.mark.parametrize("target", ["/authorize", "/callback"])
@pytest.mark.parametrize("header", ["sec-purpose", "purpose"])
def test_a_guess_of_the_browser_uses_nothing_up(
    person: Browser, started: LinkSession, cookie_name: str, target: str, header: str
) -> None:
    person.cookies[cookie_name] = COOKIE
    before = writes_nothing(person.stack)

    answer = person.open(
        f"{target}?session={SESSION_ID}&n=x&code=c&state={STATE}", **{header: "prefetch"}
    )

    assert answer["statusCode"] == 204
    assert writes_nothing(person.stack) == before


@pytest.mark.parametrize(
    ("mode", "destination"), [("no-cors", "image"), ("navigate", "iframe"), ("cors", "empty")]
)
def test_a_callback_is_a_page_that_a_person_opens(
    person: Browser, started: LinkSession, cookie_name: str, mode: str, destination: str
) -> None:
    person.cookies[cookie_name] = COOKIE
    headers = {"sec-fetch-mode": mode, "sec-fetch-dest": destination}

    answer = person.open(f"/callback?code=c&state={STATE}", **headers)

    assert answer["statusCode"] == 400
    assert person.stack.tiktok.received == []


def test_a_session_that_is_none_is_a_page_of_ours(person: Browser) -> None:
    for session_id in ("ls_" + "x" * 43, "<script>", "..%2F..%2Fetc", "%00", "%ff"):
        answer = person.open(f"/connect/{session_id}")

        assert answer["statusCode"] == 404
        assert session_id not in answer["body"]


def test_a_browser_without_a_part_in_a_session_sees_that_it_is_over(person: Browser) -> None:
    answer = person.open("/connect/finished")

    assert answer["statusCode"] == 409
    assert "already finished" in answer["body"]


def test_an_unknown_route_is_a_page_of_ours(person: Browser, session: LinkSession) -> None:
    answer = person.stack.invoke(
        "authorize", changed("authorize-connect-page", routeKey="GET /elsewhere")
    )

    assert answer["statusCode"] == 404
    assert answer["headers"]["Content-Type"] == "text/html; charset=utf-8"


# -- the status ---------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://app.example.com.evil"])
def test_no_other_origin_reads_the_status(
    person: Browser, session: LinkSession, origin: str
) -> None:
    answer = person.open(f"/connect/{SESSION_ID}/status", origin=origin)

    assert answer["statusCode"] == 200
    assert not [name for name in answer["headers"] if name.lower().startswith("access-control")]
    assert answer["headers"]["Cross-Origin-Resource-Policy"] == "same-origin"


def test_the_status_of_an_unknown_session_is_a_problem(person: Browser) -> None:
    answer = person.open("/connect/ls_" + "x" * 43 + "/status")

    assert (answer["statusCode"], body_of(answer)["code"]) == (404, "not_found")


# -- the way back -------------------------------------------------------------------------------

BAD_QUERIES = [
    "",
    "code=c",
    "state=",
    "code=c&state=",
    f"state={STATE}",
    f"code=&state={STATE}",
    f"code=c&state={STATE}x",
    "code=c&state=" + "a" * 22 + "." + "b" * 43,
    f"code=c&code=d&state={STATE}",
    f"code=c&state={STATE}&state={STATE}",
    f"error=access_denied&error=x&state={STATE}",
    f"code={'c' * 2049}&state={STATE}",
    f"code=c%0d%0aSet-Cookie:x&state={STATE}",
    f"code=c%20d&state={STATE}",
    f"code=%ff&state={STATE}",
    f"code=c&state={STATE}&iss=https%3A%2F%2Fevil.example",
    "x" * 9000,
]


@pytest.mark.parametrize("query", BAD_QUERIES)
def test_an_answer_that_is_none_of_tiktoks_leaves_the_process_alone(
    person: Browser, started: LinkSession, cookie_name: str, query: str
) -> None:
    person.cookies[cookie_name] = COOKIE
    before = writes_nothing(person.stack)

    answer = person.open(f"/callback?{query}")

    assert answer["statusCode"] == 400
    assert "belongs to no link" in answer["body"]
    assert person.stack.tiktok.received == []
    assert writes_nothing(person.stack) == before


def test_tiktoks_own_issuer_and_parameters_that_nobody_knows_do_no_harm(
    person: Browser, started: LinkSession, cookie_name: str
) -> None:
    person.cookies[cookie_name] = COOKIE
    person.stack.tiktok.script.extend([Answer(person.stack.pair()), Answer({}, status=500)])

    answer = person.come_back(
        code="c", state=STATE, iss="https://www.tiktok.com", new="1", return_url="//evil.example"
    )

    assert answer["headers"]["Location"] == (
        f"https://app.example.com/settings?link_session={SESSION_ID}"
    )


def test_words_of_tiktok_are_not_shown(
    person: Browser, started: LinkSession, cookie_name: str
) -> None:
    person.cookies[cookie_name] = COOKIE
    query = {
        "error": "<script>alert(1)</script>",
        "error_type": '"><svg onload=x>',
        "error_description": "canary description",
        "state": STATE,
    }

    answer = person.come_back(**query)
    page = person.open(answer["headers"]["Location"])

    assert answer["statusCode"] == 303
    for shown in (str(answer), page["body"]):
        assert not [word for word in ("alert(1)", "<svg", "canary") if word in shown]
    found = sessions().read(SESSION_ID)
    assert found is not None
    assert found.reason is SessionReason.PROVIDER_REFUSED


def test_a_second_delivery_gives_the_first_result(
    person: Browser, linked: LinkSession, cookie_name: str
) -> None:
    person.cookies[cookie_name] = COOKIE

    answers = [person.come_back(code="again", state=STATE) for _ in range(3)]

    assert {a["headers"]["Location"] for a in answers} == {
        f"https://app.example.com/settings?link_session={SESSION_ID}"
    }
    assert person.stack.tiktok.received == []


@pytest.mark.parametrize(
    ("answer", "title"),
    [
        ({"error": "access_denied"}, "You cancelled"),
        ({"error": "access_denied", "error_type": "user_not_eligible"}, "TikTok did not allow"),
        ({"error": "unauthorized_client", "error_type": "client_key"}, "This app is not set up"),
        ({"error": "server_error"}, "TikTok had a problem"),
        ({"code": "c"}, "A needed permission is off"),
        ({"code": "d"}, "TikTok had a problem"),
    ],
)
def test_reload_and_a_second_delivery_of_a_failure_change_nothing(
    person: Browser, session: LinkSession, answer: dict[str, str], title: str
) -> None:
    told = person.go_to_tiktok()
    said = {"c": Answer(person.stack.pair(scope="video.list")), "d": Answer({"error": "x"})}
    person.stack.tiktok.script.extend([said[answer.get("code", "d")], Answer({})])
    first = person.come_back(**answer, state=told["state"])
    shown = person.open(f"/connect/{SESSION_ID}")
    assert title in shown["body"]
    asked, before = len(person.stack.tiktok.received), writes_nothing(person.stack)

    for _ in range(3):
        again = person.come_back(**answer, state=told["state"])
        reloaded = person.open(f"/connect/{SESSION_ID}")

        assert again["statusCode"] == 303
        assert again["headers"]["Location"] == first["headers"]["Location"]
        assert (reloaded["statusCode"], title in reloaded["body"]) == (shown["statusCode"], True)
    assert len(person.stack.tiktok.received) == asked
    assert writes_nothing(person.stack) == before


def test_reload_of_a_page_that_nothing_leads_on_from_changes_nothing(
    person: Browser, session: LinkSession
) -> None:
    def stays(path: str, status: int, title: str) -> None:
        before = writes_nothing(person.stack)
        for _ in range(3):
            answer = person.open(path)
            assert (answer["statusCode"], title in answer["body"]) == (status, True)
        assert writes_nothing(person.stack) == before

    stays("/connect/finished", 409, "This is already finished")
    stays("/connect/ls_none", 404, "This link is not valid")
    stays("/callback?code=c&state=old", 400, "This answer belongs to no link")
    for _ in range(10):
        person.go_to_tiktok()
    stays(f"/connect/{SESSION_ID}?anew=1", 429, "Too many tries")
    sessions().cancel(SESSION_ID, caller=Caller("backend"), now=person.stack.clock.now)
    stays(f"/connect/{SESSION_ID}", 410, "This link was withdrawn")
    person.stack.create_tables("SessionsTable")
    create_session(person.stack)
    person.stack.clock.advance(days=1)
    stays(f"/connect/{SESSION_ID}", 410, "This link has expired")
    assert person.stack.tiktok.received == []


def test_the_cookie_of_sam_local_counts_too(
    stack: RunningStack, started: LinkSession, cookie_name: str
) -> None:
    stack.tiktok.script.extend([Answer(stack.pair()), Answer({}, status=500)])
    local = changed("callback-code", cookies=None, headers={"Cookie": f"{cookie_name}={COOKIE}"})

    answer = stack.invoke("callback", local)

    assert query_of(answer) == {"link_session": SESSION_ID}


@pytest.mark.parametrize("cookies", [[], ["__Host-ttl_2ef75427=wrong"], ["other=1"]])
def test_another_browser_finishes_nothing_and_learns_no_session_of_others(
    stack: RunningStack, started: LinkSession, cookies: list[str]
) -> None:
    answer = stack.invoke("callback", changed("callback-code", cookies=cookies))

    assert answer["statusCode"] == 303
    assert stack.tiktok.received == []
    assert "app.example.com" not in answer["headers"]["Location"]
    assert "link_session" not in answer["headers"]["Location"]


def test_a_finished_answer_in_another_browser_leads_to_no_session(
    person: Browser, linked: LinkSession
) -> None:
    answer = person.come_back(code="again", state=STATE)

    assert (answer["statusCode"], answer["headers"]["Location"]) == (303, "/connect/finished")
    assert "cookies" not in answer


def test_a_wrong_state_with_the_right_cookie_finishes_nothing(
    person: Browser, started: LinkSession, cookie_name: str
) -> None:
    person.cookies[cookie_name] = COOKIE

    answer = person.come_back(code="c", state=STATE[:-1] + "A")

    assert answer["statusCode"] == 400
    assert person.stack.tiktok.received == []


def test_an_attempt_that_is_too_old_finishes_nothing(
    person: Browser, started: LinkSession, cookie_name: str
) -> None:
    person.cookies[cookie_name] = COOKIE
    person.stack.clock.advance(minutes=10)

    person.come_back(code="c", state=STATE)

    assert person.stack.tiktok.received == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer({"error": "invalid_grant"}), SessionReason.EXCHANGE_FAILED),
        (Answer({"error": "invalid_client"}), SessionReason.APP_MISCONFIGURED),
        (Answer(b"<html>", status=502), SessionReason.PROVIDER_UNAVAILABLE),
    ],
)
def test_a_failed_exchange_is_a_page_with_a_way_on(
    person: Browser, started: LinkSession, cookie_name: str, answer: Answer, reason: SessionReason
) -> None:
    person.cookies[cookie_name] = COOKIE
    person.stack.tiktok.script.append(answer)

    back = person.come_back(code="c", state=STATE)

    assert (back["statusCode"], back["headers"]["Location"]) == (303, f"/connect/{SESSION_ID}")
    found = sessions().read(SESSION_ID)
    assert found is not None
    assert found.reason is reason
    assert "https://app.example.com/settings?link_session=" in html.unescape(
        person.open(back["headers"]["Location"])["body"]
    )


def test_an_exchange_without_an_answer_is_told_as_an_outage(
    person: Browser, started: LinkSession, cookie_name: str
) -> None:
    person.cookies[cookie_name] = COOKIE
    person.stack.tiktok.script.extend([hang_up, hang_up, hang_up])

    person.come_back(code="c", state=STATE)

    found = sessions().read(SESSION_ID)
    assert found is not None
    assert found.reason is SessionReason.PROVIDER_UNAVAILABLE


def test_a_pair_that_the_table_does_not_take_is_rescued(
    person: Browser, started: LinkSession, cookie_name: str
) -> None:
    """The table is gone from the save on; the message alone brings the link to its end."""
    stack = person.stack
    person.cookies[cookie_name] = COOKIE

    def answer_and_break(stream: Any) -> None:
        client("dynamodb").delete_table(TableName="AccountsTable")
        stack.clock.ticks_seconds = 6
        Answer(stack.pair(), headers={"Connection": "close"})(stream)

    stack.tiktok.script.append(answer_and_break)

    answer = person.come_back(code="c", state=STATE)

    assert answer["statusCode"] == 303
    (parcel,) = stack.messages("RescueQueue")
    assert '"kind":"authorised"' in parcel
    assert "act.event1" not in parcel
    assert SESSION_ID not in parcel


# -- whatever happens ---------------------------------------------------------------------------


def test_every_answer_carries_the_security_headers(
    person: Browser, started: LinkSession, cookie_name: str
) -> None:
    answers = [
        person.open(f"/connect/{SESSION_ID}"),
        person.open(f"/connect/{SESSION_ID}/status"),
        person.open("/connect/x"),
        person.open("/connect/finished"),
        person.open("/authorize"),
        person.open(f"/authorize?session={SESSION_ID}"),
        person.open("/authorize", purpose="prefetch"),
        person.open("/callback"),
        person.open(f"/callback?code=c&state={STATE}"),
        person.press(person.open(f"/connect/{SESSION_ID}?anew=1")),
    ]

    for answer in answers:
        assert HEADERS.items() <= answer["headers"].items(), answer["statusCode"]
        assert "default-src 'none'" in answer["headers"]["Content-Security-Policy"]
        assert "server" not in {name.lower() for name in answer["headers"]}


@pytest.mark.parametrize("function", ["authorize", "callback"])
@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"routeKey": "GET /connect/{id}"},
        {"routeKey": "GET /callback", "headers": None, "rawQueryString": None},
        {"routeKey": "GET /connect/{id}", "pathParameters": {"id": SESSION_ID}},
        {"routeKey": "GET /authorize", "body": "%%%", "isBase64Encoded": True},
    ],
)
def test_no_event_makes_an_exception_escape(
    stack: RunningStack, function: str, broken: dict[str, Any]
) -> None:
    """`sam local` would show its trace to whoever asked."""
    client("dynamodb").delete_table(TableName="SessionsTable")

    answer = stack.invoke(function, broken)

    assert answer["statusCode"] in (400, 404, 500)
    assert "Traceback" not in answer["body"]
    assert "ResourceNotFound" not in answer["body"]


@pytest.mark.parametrize("function", ["authorize", "callback"])
def test_a_function_that_is_set_up_wrongly_answers_a_page(
    stack: RunningStack, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.become(function)
    monkeypatch.setenv("SESSIONS_TABLE", "")

    answer = stack.invoke(function, event("authorize-connect-page"))

    assert answer["statusCode"] == 500
    assert "SESSIONS_TABLE" not in answer["body"]


def test_two_attempts_in_two_tabs_end_in_either_order(
    person: Browser, session: LinkSession
) -> None:
    first, second = person.go_to_tiktok(), person.go_to_tiktok()
    person.stack.tiktok.script.extend([Answer(person.stack.pair()), Answer({}, status=500)])

    late = person.come_back(code="c", state=second["state"])
    early = person.come_back(code="c", state=first["state"])

    assert query_of(late) == query_of(early) == {"link_session": SESSION_ID}
    assert len(person.cookies) >= 2


def test_a_browser_keeps_ten_cookies_of_attempts(person: Browser, session: LinkSession) -> None:
    """API Gateway refuses requests with more than 10 KB of headers: the oldest cookie goes."""
    kept = [f"__Host-ttl_{number:08x}" for number in range(12)]
    person.cookies |= dict.fromkeys(kept, COOKIE) | {"__Host-ttl_other": "x", "theirs": "y"}
    page = person.open(f"/connect/{SESSION_ID}")

    answer = person.press(page)

    made, *cleared = answer["cookies"]
    assert made.startswith("__Host-ttl_")
    assert cleared == [
        f"{name}=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Lax" for name in kept[:3]
    ]


def test_attempts_are_bounded(person: Browser, session: LinkSession) -> None:
    for _ in range(10):
        person.go_to_tiktok()

    page = person.open(f"/connect/{SESSION_ID}")
    answer = person.press(page) if "Continue with TikTok" in page["body"] else page

    assert answer["statusCode"] != 302
    found = sessions().read(SESSION_ID)
    assert found is not None
    assert len(found.attempts) == 10
    assert found.status is SessionStatus.STARTED
