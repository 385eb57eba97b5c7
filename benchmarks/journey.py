"""Requests of one person's way to a token, made as API Gateway makes them.

From events/*.json, with what an answer of the step before gives: the page's link, cookies, state.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from benchmarks.renewal.tiktok import CODE

EVENTS = Path(__file__).resolve().parents[1] / "events"
Event = dict[str, Any]
Answer = Mapping[str, Any]


def read_event(name: str) -> Event:
    """One of events/*.json, anew."""
    event: Event = json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))
    return event


def begin(end_user_id: str) -> Event:
    """The backend's wish for a session, without an idempotency key."""
    event = read_event("sessions-create")
    event["headers"].pop("idempotency-key", None)
    wish = {
        "end_user_id": end_user_id,
        "end_user_label": f"{end_user_id}@example.com",
        "return_url": "https://app.example.com/settings",
    }
    return event | {"body": json.dumps(wish), "isBase64Encoded": False}


def show(session_id: str) -> Event:
    """The backend asks how it went."""
    return read_event("sessions-show") | {"pathParameters": {"id": session_id}}


def connect(session_id: str) -> Event:
    """The browser opens the page; it has no cookie yet."""
    event = read_event("authorize-connect-page") | {"pathParameters": {"id": session_id}}
    event.pop("cookies", None)
    event["headers"].pop("cookie", None)
    return event | {"rawQueryString": ""}


def press(page: Answer) -> Event:
    """The browser follows the page's button."""
    found = re.search(r'"([^"]*/authorize\?[^"]+)"', page["body"])
    if found is None:
        raise AssertionError("the page has no button")
    query = urlsplit(html.unescape(found[1])).query
    return _navigate("authorize-start", query, _kept(page["cookies"]))


def come_back(departure: Answer, open_id: str) -> Event:
    """The browser comes back from TikTok, where this person has consented."""
    state = parse_qs(urlsplit(departure["headers"]["Location"]).query)["state"][0]
    query = urlencode({"code": CODE + open_id, "scopes": "user.info.basic", "state": state})
    return _navigate("callback-code", query, _kept(departure["cookies"]))


def vend(account_id: str, *, rejected: bool = False) -> Event:
    """The backend asks for a token; TikTok may have refused the last one."""
    wish = {"min_ttl_seconds": 300, "purpose": "publish a video", "rejected": rejected}
    return read_event("tokens-vend") | {
        "pathParameters": {"id": account_id},
        "body": json.dumps(wish),
        "isBase64Encoded": False,
    }


def body_of(answer: Answer, status: int = 200) -> dict[str, Any]:
    """The JSON of an answer that went well."""
    if answer["statusCode"] != status:
        raise AssertionError(answer)
    body: dict[str, Any] = json.loads(answer["body"])
    return body


def _navigate(name: str, query: str, cookies: Sequence[str]) -> Event:
    parameters = {key: values[0] for key, values in parse_qs(query).items()}
    return read_event(name) | {
        "rawQueryString": query,
        "queryStringParameters": parameters,
        "cookies": list(cookies),
    }


def _kept(set_cookies: Sequence[str]) -> list[str]:
    return [cookie.partition(";")[0] for cookie in set_cookies]


def open_ids(count: int, prefix: str = "") -> list[str]:
    """TikTok's names for so many people: they fit into tokens of a usual length."""
    return [quote(f"-000{prefix}{number:0{32 - len(prefix)}x}") for number in range(count)]
