"""GET /authorize by hand: one signed UpdateItem over one connection, no library at all.

What a function can cost at the least. Nobody should write this: it has no retries, no logs, no
checks, and a signature of its own.
"""

import datetime
import hashlib
import hmac
import http.client
import json
import os
import secrets
import ssl
from urllib.parse import parse_qs, urlencode, urlsplit


def _sign(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _update(table: str, key: str, state: str, bound: str) -> None:
    url = urlsplit(os.environ["AWS_ENDPOINT_URL_DYNAMODB"])
    body = json.dumps(
        {
            "TableName": table,
            "Key": {"pk": {"S": key}},
            "UpdateExpression": "SET oauth_state = :state, bound_to = :bound",
            "ExpressionAttributeValues": {":state": {"S": state}, ":bound": {"S": bound}},
        }
    )
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    region, target = os.environ["AWS_DEFAULT_REGION"], "DynamoDB_20120810.UpdateItem"
    headers = {"host": url.netloc, "x-amz-date": now, "x-amz-target": target}
    signed = ";".join(headers)
    canonical = (
        "\n".join(("POST", "/", "", *(f"{k}:{v}" for k, v in headers.items()), "", signed))
        + "\n"
        + hashlib.sha256(body.encode()).hexdigest()
    )
    scope = f"{now[:8]}/{region}/dynamodb/aws4_request"
    to_sign = "\n".join(
        ("AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest())
    )
    signing = f"AWS4{os.environ['AWS_SECRET_ACCESS_KEY']}".encode()
    for part in (*scope.split("/"), to_sign):
        signing = _sign(signing, part)
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={os.environ['AWS_ACCESS_KEY_ID']}/{scope}, "
        f"SignedHeaders={signed}, Signature={signing.hex()}"
    )
    tls = ssl.create_default_context(cafile=os.environ["SMALL_CA_FILE"])
    connection = http.client.HTTPSConnection(str(url.hostname), url.port, context=tls, timeout=5)
    connection.request("POST", "/", body, headers | {"content-type": "application/x-amz-json-1.0"})
    answer = connection.getresponse()
    if answer.status != 200:
        raise RuntimeError(answer.read())
    answer.read()


def lambda_handler(event, context):
    """Start an attempt and go to TikTok."""
    key = parse_qs(event["rawQueryString"])["session"][0]
    state, bound = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    _update(os.environ["PEER_SESSIONS"], key, state, bound)
    query = urlencode(
        {
            "client_key": os.environ["CLIENT_KEY"],
            "response_type": "code",
            "scope": "user.info.basic",
            "redirect_uri": "https://link.example.com/callback",
            "state": f"{key}.{state}",
        }
    )
    return {
        "statusCode": 302,
        "headers": {"Location": f"https://www.tiktok.com/v2/auth/authorize/?{query}"},
        "cookies": [f"attempt={bound}; Secure; HttpOnly"],
    }
