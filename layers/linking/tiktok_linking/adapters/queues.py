"""The queues: grants as bare ids, and sealed pairs that the table did not take."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tiktok_linking.adapters.asking import ask
from tiktok_linking.adapters.parcels import pack_authorised, pack_renewed
from tiktok_linking.ports import AuthorisedPair, RenewedPair


class SqsGrantQueue:
    """Implements the port GrantQueue: one message a grant, ten messages a request."""

    def __init__(self, client: Any, url: str) -> None:
        self._client = client
        self._url = url

    def put(self, grant_ids: Sequence[str]) -> None:
        """See ports.GrantQueue. What SQS refused stays due and comes with the next plan."""
        entries = [
            {"Id": str(number), "MessageBody": json.dumps({"grant": grant_id})}
            for number, grant_id in enumerate(grant_ids)
        ]
        ask("sqs", self._client.send_message_batch, QueueUrl=self._url, Entries=entries)

    def waiting(self) -> int:
        """See ports.GrantQueue."""
        return _waiting(self._client, self._url)


class SqsRescueQueue:
    """Implements the port RescueQueue."""

    def __init__(self, client: Any, url: str) -> None:
        self._client = client
        self._url = url

    def put_renewed(self, renewed: RenewedPair) -> None:
        """See ports.RescueQueue."""
        ask("sqs", self._client.send_message, QueueUrl=self._url, MessageBody=pack_renewed(renewed))

    def put_authorised(self, authorised: AuthorisedPair) -> None:
        """See ports.RescueQueue."""
        ask(
            "sqs",
            self._client.send_message,
            QueueUrl=self._url,
            MessageBody=pack_authorised(authorised),
        )

    def waiting(self) -> int:
        """See ports.RescueQueue."""
        return _waiting(self._client, self._url)


def _waiting(client: Any, url: str) -> int:
    """Messages that wait or are being worked on: SQS's own estimate."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    answer = ask("sqs", client.get_queue_attributes, QueueUrl=url, AttributeNames=names)
    return sum(int(answer["Attributes"][name]) for name in names)
