"""The one door from outside: ask the refresh function for a renewal, and hear the outcome."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tiktok_linking.ports import Outcome, RenewalReport

_NOT_KNOWN = RenewalReport(Outcome.UNKNOWN, retry_after=5)


class LambdaRefreshDoor:
    """Implements the port RefreshDoor. Never retried here: a second call could not help."""

    def __init__(self, client: Any, function: str) -> None:
        self._client = client
        self._function = function

    def renew(
        self, grant_id: str, *, min_ttl: timedelta, rejected: bool, for_revocation: bool = False
    ) -> RenewalReport:
        """See ports.RefreshDoor."""
        job = {
            "job": "renew",
            "grant": grant_id,
            "min_ttl_seconds": int(min_ttl.total_seconds()),
            "rejected": rejected,
            "for_revocation": for_revocation,
        }
        try:
            answer = self._client.invoke(
                FunctionName=self._function,
                InvocationType="RequestResponse",
                Payload=json.dumps(job).encode(),
            )
            body = json.loads(answer["Payload"].read())
            if "FunctionError" in answer:
                return _NOT_KNOWN
            return RenewalReport(Outcome(body["outcome"]), body.get("retry_after"))
        except (ClientError, BotoCoreError, ValueError, KeyError, TypeError):
            # Whether it ran is not known; the grant itself will tell.
            return _NOT_KNOWN
