"""`doctor`: what is set up, what TikTok will really be sent, and the cure for what is wrong.

An attempt to link is made for each app registration, followed to the address at TikTok without
going there, and withdrawn: so the redirect URI, the scopes and PKCE shown are those of the stack
and not of somebody's notes. TikTok's portal has no API; what must be entered there is printed.
"""

from __future__ import annotations

import argparse
import contextlib
import html
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qs, urlsplit

import requests
from botocore.exceptions import BotoCoreError, ClientError

from tiktok_link_cli.showing import Failed, Json, plain, show
from tiktok_link_cli.stack import Stack, refusal
from tiktok_link_cli.webhooks import post, secrets_of

OK, NOTE, FAULT = "ok", "note", "fault"
NOBODY = "tiktok-link-doctor"
SIGNATURES_HOLD_FOR = timedelta(minutes=5)
_LEAST_SECRET = 16
_LOOPBACK = ("127.0.0.1", "localhost")
_PRODUCTS = {
    "user.info.basic": "Login Kit",
    "user.info.profile": "Display API",
    "user.info.stats": "Display API",
    "video.list": "Display API",
    "video.upload": "Content Posting API",
    "video.publish": "Content Posting API",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    check: str
    level: str
    found: str
    cure: str = ""


def doctor(stack: Stack, args: argparse.Namespace) -> int:
    """Look at everything, whatever is wrong with the rest."""
    findings: list[Finding] = []
    for check in CHECKS:
        try:
            findings += check(stack)
        except Failed as failed:
            name = check.__name__.removeprefix("_")
            findings.append(Finding(name, FAULT, failed.cause, failed.cure))
        except ClientError as error:
            code = error.response["Error"]["Code"]
            findings.append(
                Finding(
                    check.__name__.removeprefix("_"),
                    FAULT if "AccessDenied" not in code else NOTE,
                    f"AWS answers {code} to {error.operation_name}",
                    "your role lacks this right; the stack may be well",
                )
            )
    faults = sum(finding.level == FAULT for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.level.upper():5}  {finding.check}: {plain(finding.found)}")
        lines += [f"       -> {plain(finding.cure)}"] if finding.cure else []
    lines.append(f"{faults} faults" if faults != 1 else "1 fault")
    shown = {"stack": stack.name, "faults": faults, "findings": [asdict(f) for f in findings]}
    show(shown, lines, as_json=args.json)
    return 1 if faults else 0


# ---- the checks --------------------------------------------------------------------------------


def _caller(stack: Stack) -> Iterator[Finding]:
    """Who asks, and whether the API lets them in; its clock comes with the answer."""
    with contextlib.suppress(ClientError, BotoCoreError):
        arn = stack.client("sts").get_caller_identity()["Arn"]
        yield Finding("caller", OK, f"you are {arn}")
    before = datetime.now(UTC)
    answer = stack.call("GET", "/v1/accounts", limit="1")
    yield clock_of(answer.headers.get("date"), now=before)
    if not answer.ok:
        raise refusal(answer)
    yield Finding("api", OK, f"{stack.api_url} takes your signature")


def _registrations(stack: Stack) -> Iterator[Finding]:
    if not stack.registrations:
        yield Finding("registrations", FAULT, "none", "give the parameter AppRegistrations")
    for name, key in stack.registrations.items():
        yield client_key_of(name, key)
    for name, given in secrets_of(stack).items():
        if name not in stack.registrations:
            yield Finding(
                f"secret {name}", NOTE, "belongs to no app registration", "remove it, or name it"
            )
        elif name in stack.registrations:
            yield secret_of(name, given, client_key=stack.registrations[name])
    for name in stack.registrations.keys() - secrets_of(stack).keys():
        yield Finding(
            f"secret {name}",
            FAULT,
            "was never filled",
            "run the command in the output FillAppSecretCommand",
        )


def _redirect(stack: Stack) -> Iterator[Finding]:
    yield redirect_of(stack.output("RedirectUri"))


def _attempts(stack: Stack) -> Iterator[Finding]:
    """What TikTok would be sent, for each registration."""
    for name, key in stack.registrations.items():
        sent = _sent_to_tiktok(stack, name)
        yield from attempt_of(
            name,
            sent,
            client_key=key,
            redirect_uri=stack.output("RedirectUri"),
            scopes=[
                scope
                for parameter in ("ScopesRequired", "ScopesOptional")
                for scope in stack.parameters.get(parameter, "").split(",")
                if scope
            ],
        )


def _webhook(stack: Stack) -> Iterator[Finding]:
    status = post(stack, b"{}", {"Content-Type": "application/json"}).status_code
    url = stack.output("WebhookUrl")
    if status == 401:
        yield Finding(
            "webhook",
            OK,
            f"{url} is reached, and refuses what is not signed: enter it in the portal",
        )
    else:
        yield Finding(
            "webhook",
            FAULT,
            f"an unsigned event at {url} gets HTTP {status} and not 401",
            "something else answers there: look at the domain, and at what stands in front of it",
        )


def _completion(stack: Stack) -> Iterator[Finding]:
    mode = stack.output("CompletionMode")
    if mode == "app":
        yield Finding("completion", OK, "app: your login decides, for every session")
    else:
        yield Finding(
            "completion",
            NOTE,
            f"{mode}: the browser that comes back decides",
            "with more than one user set Completion=app (README, Security in short)",
        )


CHECKS: Sequence[Callable[[Stack], Iterator[Finding]]] = (
    _caller,
    _registrations,
    _redirect,
    _attempts,
    _webhook,
    _completion,
)


# ---- the rules, of plain values ----------------------------------------------------------------


def clock_of(date: str | None, *, now: datetime) -> Finding:
    """AWS takes signatures that are at most five minutes from its own clock."""
    try:
        theirs = parsedate_to_datetime(date or "")
    except ValueError:
        return Finding("clock", NOTE, "the API tells no date")
    seconds = round(abs(theirs - now).total_seconds())
    if seconds > SIGNATURES_HOLD_FOR.total_seconds():
        return Finding("clock", FAULT, f"yours is {seconds} s from the API's", "set it by NTP")
    if seconds > 60:
        return Finding("clock", NOTE, f"yours is {seconds} s from the API's", "set it by NTP")
    return Finding("clock", OK, f"within {max(1, seconds)} s of the API's")


def client_key_of(name: str, key: str) -> Finding:
    check = f"registration {name}"
    if key.isdigit():
        return Finding(
            check,
            FAULT,
            f"the client key {key} has digits alone: that is an App ID",
            "take the client key from the app's Credentials box",
        )
    if not re.fullmatch(r"[A-Za-z0-9_-]{4,64}", key):
        return Finding(check, FAULT, "the client key has another form", "copy it from the portal")
    kind = "sandbox key" if key.startswith("sb") else "client key"
    return Finding(check, OK, f"{kind} {key}")


def secret_of(name: str, given: Mapping[str, object], *, client_key: str) -> Finding:
    """The shape of a secret; no part of it is shown, not even its length."""
    check, cure = f"secret {name}", "copy the client secret from the portal and fill it again"
    current = given.get("current")
    if not isinstance(current, str) or not current:
        return Finding(check, FAULT, "has no `current`", cure)
    if current != "".join(current.split()):
        return Finding(check, FAULT, "has a space or a line break in it", cure)
    if current == client_key:
        return Finding(check, FAULT, "is the client key", cure)
    if not current.isascii() or len(current) < _LEAST_SECRET:
        return Finding(check, FAULT, "is too short, or has characters that no secret has", cure)
    beside = sorted(given.keys() - {"current"})
    if unknown := [field for field in beside if field not in ("previous", "pending")]:
        return Finding(
            check,
            NOTE,
            "has fields that nothing reads",
            f"known: current, previous, pending; {len(unknown)} other",
        )
    return Finding(check, OK, "is filled" + (f", with {' and '.join(beside)}" if beside else ""))


def redirect_of(uri: str) -> Finding:
    """TikTok compares redirect URIs byte for byte, and has rules for their form."""
    parts = urlsplit(uri)
    is_loopback = parts.hostname in _LOOPBACK
    cure = "set CustomDomainName or PublicBaseUrl to an https origin"
    if parts.scheme != "https" and not is_loopback:
        return Finding("redirect uri", FAULT, f"{uri} is not https", cure)
    if parts.query or parts.fragment or len(uri) >= 512:
        return Finding("redirect uri", FAULT, f"{uri} has a query, a fragment or 512 bytes", cure)
    if parts.path != "/callback" or not uri.isascii():
        return Finding("redirect uri", FAULT, f"{uri} does not end in /callback", cure)
    flavour = "Desktop" if is_loopback else "Web"
    said = f"enter exactly these {len(uri)} bytes in the portal, Login Kit, {flavour}: {uri}"
    if ".execute-api." in uri:
        return Finding(
            "redirect uri", NOTE, said, "this address dies with its API: give the stack a domain"
        )
    return Finding("redirect uri", OK, said)


def attempt_of(
    name: str,
    sent: Mapping[str, str],
    *,
    client_key: str,
    redirect_uri: str,
    scopes: Sequence[str],
) -> Iterator[Finding]:
    """Hold what TikTok is sent against what the stack says of itself."""
    really = sent.get("redirect_uri", "")
    if really.encode() == redirect_uri.encode():
        yield Finding(f"attempt {name}", OK, "the redirect URI is sent byte for byte")
    else:
        yield Finding(
            f"attempt {name}",
            FAULT,
            f"TikTok is sent {really} and not the output RedirectUri",
            "deploy again, so that stage variable and output are of one version",
        )
    if sent.get("client_key") != client_key:
        yield Finding(
            f"attempt {name}", FAULT, "another client key is sent", "deploy the parameters again"
        )
    asked = sent.get("scope", "").split(",")
    unknown = [scope for scope in asked if scope not in _PRODUCTS]
    if set(asked) != set(scopes) or unknown:
        yield Finding(
            f"scopes {name}",
            FAULT,
            f"asked for: {', '.join(asked)}; configured: {', '.join(scopes)}"
            + (f"; TikTok has no {', '.join(unknown)}" if unknown else ""),
            "mend ScopesRequired and ScopesOptional",
        )
    else:
        products = sorted({_PRODUCTS[scope] for scope in asked})
        yield Finding(
            f"scopes {name}", OK, f"{', '.join(asked)}; the app needs {', '.join(products)}"
        )
    yield pkce_of(name, sent, is_loopback=urlsplit(really).hostname in _LOOPBACK)


def pkce_of(name: str, sent: Mapping[str, str], *, is_loopback: bool) -> Finding:
    """Off for the web; for loopback S256, in hex as TikTok wants it and no RFC does."""
    challenge, method = sent.get("code_challenge"), sent.get("code_challenge_method")
    if not is_loopback and challenge is None:
        return Finding(f"pkce {name}", OK, "off, as for a Web app")
    if is_loopback and method == "S256" and re.fullmatch(r"[0-9a-f]{64}", challenge or ""):
        return Finding(f"pkce {name}", OK, "S256 with a challenge in hex, as for a Desktop app")
    return Finding(
        f"pkce {name}",
        FAULT,
        f"method {method}, and the redirect URI is {'' if is_loopback else 'not '}on loopback",
        "PublicBaseUrl decides it: https for a Web app, http://127.0.0.1 for a Desktop app",
    )


# ---- an attempt, as a browser would begin it ---------------------------------------------------


def _sent_to_tiktok(stack: Stack, registration: str) -> dict[str, str]:
    """Begin an attempt, read where the browser is sent, and withdraw it."""
    wish: Json = {
        "end_user_id": NOBODY,
        "app_registration": registration,
        "expires_in": 60,
    }
    origins = stack.parameters.get("ReturnOrigins", "").split(",")
    if stack.output("CompletionMode") == "app":
        wish["return_url"] = f"{origins[0]}/"
    session = stack.ask("POST", "/v1/link-sessions", wish)
    try:
        page = stack.send(requests.Request("GET", session["url"]).prepare())
        way = re.search(r"/authorize\?[^\"'<> ]+", page.text)
        if page.status_code != 200 or way is None:
            raise Failed(
                f"the connect page answers HTTP {page.status_code}",
                "look at the domain, and at the log of the authorize function",
            )
        parts = urlsplit(session["url"])
        going = stack.send(
            requests.Request(
                "GET", f"{parts.scheme}://{parts.netloc}{html.unescape(way[0])}"
            ).prepare()
        )
        query = parse_qs(urlsplit(going.headers.get("location", "")).query)
        if "client_key" not in query:
            raise Failed(
                f"the way to TikTok answers HTTP {going.status_code} and leads elsewhere",
                "look at the log of the authorize function",
            )
        return {field: values[0] for field, values in query.items() if field != "state"}
    finally:
        stack.call("DELETE", f"/v1/link-sessions/{session['id']}")
