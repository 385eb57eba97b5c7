"""What the rules must find, and what they must leave alone. Read by semgrep, never run.

`ruleid: <rules>` above a line: they find that line. No rule finds a line without it.
"""

import sys
import urllib.parse

# ruleid: http-outside-its-adapter
import urllib.request
from http import HTTPStatus

# ruleid: http-outside-its-adapter
import requests

# ruleid: http-outside-its-adapter
from requests.adapters import HTTPAdapter

log = logger = sealed = object()


# ---- secrets and logs


def a_revealed_secret(access):
    # ruleid: secret-to-log
    log.info("renewed", extra={"token": access.reveal()})
    # ruleid: secret-to-log
    logger.warning("renewed with %s", access.reveal())
    # ruleid: secret-to-log
    print(f"now {access.reveal()}")
    # ruleid: secret-to-log
    logger.append_keys(token=access.reveal())


def a_detour(secret):
    text = secret.reveal()
    beginning = "starts with " + text
    # ruleid: secret-to-log
    log.error("refused", extra={"sent": beginning})


def by_its_name(client_secret, refresh_token):
    # ruleid: secret-to-log
    sys.stderr.write(client_secret)
    # ruleid: secret-to-log
    raise ValueError(f"not a token: {refresh_token}")


def a_request(request):
    # ruleid: request-to-log
    log.info("asked", extra={"query": request.raw_query})
    # ruleid: request-to-log
    log.info("asked", extra={"cookies": request.cookies})
    query = request.query("state", "code")
    # ruleid: request-to-log
    log.info("asked", extra={"query": query})


def lambda_handler(event, context):
    # ruleid: request-to-log
    log.info("came", extra={"event": event})
    log.set_correlation_id(context.aws_request_id)


def logs_as_we_write_them(access, grant, error):
    log.info("renewed", extra={"grant": grant.id, "characters": len(access.reveal())})
    log.info("refused", extra={"why": type(error).__name__})
    sealed.write(access.reveal())
    log.info("sealed")


# ---- what detect-secrets must find

PASTED = "rft.ExampleRefreshTokenThatNobodyHolds0123"


# ---- where a browser is sent


def a_location_by_hand(request, Response, headers):
    # ruleid: location-set-by-hand
    one = Response(303, "", {"Location": request.query("next")["next"]})
    # ruleid: location-set-by-hand
    two = headers | {"Cache-Control": "no-store", "location": request.headers["referer"]}
    # ruleid: location-set-by-hand
    headers["Location"] = "/elsewhere"
    return one, two


def redirect(location, headers):
    return headers | {"Location": location, "Content-Location": "/here"}


def anywhere(request, session):
    where = request.query("next")["next"]
    # ruleid: redirect-to-an-unknown-place
    redirect(where)
    # ruleid: redirect-to-an-unknown-place
    redirect(session.return_url)
    # ruleid: redirect-to-an-unknown-place
    redirect(f"{where}/connect/{session.id}", status=302)
    # ruleid: redirect-to-an-unknown-place
    redirect(request.headers["referer"], cookies=())


def a_return_url_of_the_browsers(request, session, with_result):
    # ruleid: return-url-not-from-the-session
    with_result(request.query("return_url")["return_url"], link_session=session.id)
    url = request.headers.get("origin")
    # ruleid: return-url-not-from-the-session
    with_result(url, link_session=session.id)


def redirects_as_we_write_them(session, arrival, departure, with_result, FINISHED):
    redirect(f"/connect/{session.id}")
    redirect("/connect/" + FINISHED, cookies=())
    redirect(departure.url, status=302, cookies=())
    redirect(with_result(session.return_url, error="cancelled"))
    with_result(arrival.session.return_url, error="cancelled")


# ---- HTTP


class Client:
    def without_bounds(self, avatar_url, made, session):
        # ruleid: http-call-without-its-bounds
        requests.get(avatar_url)
        # ruleid: http-call-without-its-bounds
        requests.post(avatar_url, timeout=(3, 10))
        # ruleid: http-call-without-its-bounds
        self._http.send(made)
        # ruleid: http-call-without-its-bounds
        self._http.send(made, timeout=None)
        # ruleid: http-call-without-its-bounds
        self._http.send(made, timeout=10)
        # ruleid: http-call-without-its-bounds
        self._http.request("POST", "/", timeout=(3, 10))
        # ruleid: http-call-without-its-bounds
        session.send(made, timeout=(3, 10))
        # ruleid: http-call-without-its-bounds
        urllib.request.urlopen(avatar_url)

    def calls_as_we_write_them(self, table, found, made):
        self._http.send(made, timeout=(3, 10), stream=True)
        table.get("pk", found.get("sk"), urllib.parse.quote(HTTPStatus.OK))


def opened_up(adapters, opener, follow, proxy):
    # ruleid: http-session-opened-up
    client = requests.Session()
    # ruleid: http-session-opened-up
    client = requests.session()
    # ruleid: http-session-opened-up
    client = requests.sessions.Session()
    # ruleid: http-session-opened-up
    client.trust_env = True
    # ruleid: http-session-opened-up
    client.verify = False
    # ruleid: http-session-opened-up
    adapters.HTTPAdapter(max_retries=3)
    # ruleid: http-session-opened-up
    HTTPAdapter(pool_maxsize=4)
    # ruleid: http-session-opened-up
    opener.open(allow_redirects=follow)
    # ruleid: http-session-opened-up
    opener.open(verify=False)
    # ruleid: http-session-opened-up
    opener.open(proxies=proxy)


class Eager(HTTPAdapter):
    def __init__(self):
        # ruleid: http-session-opened-up
        super().__init__(pool_maxsize=4, max_retries=3)


class AdapterAsWeWriteIt(HTTPAdapter):
    def __init__(self):
        super().__init__(pool_maxsize=4, max_retries=0)


def adapters_as_we_write_them():
    return HTTPAdapter(pool_maxsize=4, max_retries=0)


# ---- comparing


def compared_by_eye(given, stored, made, secret, secret_hash):
    # ruleid: secret-compared-by-eye
    assert given == stored.cookie_hash
    # ruleid: secret-compared-by-eye
    assert stored["ph"] != given.completion_hash
    # ruleid: secret-compared-by-eye
    assert given == made.digest
    # ruleid: secret-compared-by-eye
    assert made.hexdigest() == given
    # ruleid: secret-compared-by-eye
    assert secret.reveal() == given
    # ruleid: secret-compared-by-eye
    assert given.nonce == stored.nonce
    # ruleid: secret-compared-by-eye
    assert secret_hash(given) == stored


def comparisons_as_we_write_them(given, stored, session, hmac):
    assert hmac.compare_digest(given, stored.cookie_hash)
    assert len(given.secret) == 43
    assert session.status == "pending"
    assert stored.fingerprint is not None
