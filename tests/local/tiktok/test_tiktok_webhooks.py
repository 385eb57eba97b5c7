"""Webhooks: the signature, the reasons, and every way that a delivery can go."""

import json
from collections.abc import Iterator

import pytest

from local.tiktok.webhooks import sign
from tests.local.tiktok.client import WEB, Client, Clock, Receiver, webhook_receiver


@pytest.fixture
def receiver(client: Client) -> Iterator[Receiver]:
    with webhook_receiver() as receiver:
        client.tiktok.tiktok.change_app("default", {"webhook_url": receiver.url})
        yield receiver


def _timestamps(receiver: Receiver) -> list[int]:
    return [
        int(delivery.signature.partition(",")[0].removeprefix("t="))
        for delivery in receiver.deliveries
    ]


def _is_genuine(receiver: Receiver, place: int = 0) -> bool:
    delivery = receiver.deliveries[place]
    expected = sign(WEB.client_secret, _timestamps(receiver)[place], delivery.body)
    return delivery.signature == expected


def test_the_signature_matches_the_known_vector() -> None:
    # Recomputed by hand from the rule of developers.tiktok.com/doc/webhooks-verification.
    body = (
        b'{"client_key":"awtest0000000001","event":"authorization.removed",'
        b'"create_time":1793836800,"user_openid":"afd97af1-b87b-48b9-ac98-410aghda5344",'
        b'"content":"{\\"reason\\": 1 }"}'
    )
    digest = "642bce83d7a050e24dc20dd2859431a8984aa9f33ae29c02425ea1d208a74cbf"

    assert sign("test_client_secret", 1_793_836_805, body) == f"t=1793836805,s={digest}"
    reserialised = json.dumps(json.loads(body)).encode()
    assert sign("test_client_secret", 1_793_836_805, reserialised).partition("s=")[2][:8] == (
        "a8830ebe"
    )


@pytest.mark.parametrize("reason", range(6))
def test_a_removal_ends_the_grant_and_tells_the_app_why(
    client: Client, receiver: Receiver, clock: Clock, reason: int
) -> None:
    told = client.link()

    answer = client.control("POST", f"/users/{told['open_id']}/remove", {"reason": reason})

    assert answer.json()["ended_grants"] == 1
    assert not client.works(told["access_token"])
    assert client.refresh(told["refresh_token"]).json()["error"] == "invalid_grant"
    (delivery,) = receiver.deliveries
    assert json.loads(delivery.body) == {
        "client_key": WEB.client_key,
        "event": "authorization.removed",
        "create_time": int(clock.now.timestamp()),
        "user_openid": told["open_id"],
        "content": f'{{"reason": {reason} }}',
    }
    assert delivery.content_type == "application/json"
    assert _is_genuine(receiver)


def test_the_apps_own_revocation_is_told_as_reason_five(client: Client, receiver: Receiver) -> None:
    client.revoke(client.link()["access_token"])

    assert receiver.came.wait(5)
    content = json.loads(json.loads(receiver.deliveries[0].body)["content"])
    assert content == {"reason": 5}


def test_a_removal_without_a_grant_tells_nobody(client: Client, receiver: Receiver) -> None:
    open_id = client.tiktok.open_id("mina", WEB.client_key)

    assert client.tiktok.remove(open_id) == 0
    assert receiver.deliveries == []


def test_an_app_without_an_address_hears_nothing(client: Client) -> None:
    assert client.tiktok.remove(client.link()["open_id"]) == 1
    assert client.control("GET", "/webhooks").json() == {"events": []}


def test_webhooks_can_be_off(client: Client, receiver: Receiver) -> None:
    client.tiktok.settings(webhook_delivery="off")

    client.tiktok.remove(client.link()["open_id"])

    assert receiver.deliveries == []


def test_anything_but_200_is_tried_again_with_growing_pauses(
    client: Client, receiver: Receiver, clock: Clock
) -> None:
    receiver.statuses = [500, 204, 301]
    client.tiktok.remove(client.link()["open_id"])

    assert client.tiktok.deliver_webhooks() == _counts(waiting=1)  # too early
    clock.advance(minutes=1)
    assert client.tiktok.deliver_webhooks() == _counts(failed=1, waiting=1)
    clock.advance(minutes=1)
    assert client.tiktok.deliver_webhooks() == _counts(waiting=1)
    clock.advance(minutes=1)
    assert client.tiktok.deliver_webhooks() == _counts(failed=1, waiting=1)
    clock.advance(minutes=4)
    assert client.tiktok.deliver_webhooks() == _counts(delivered=1)
    assert client.tiktok.deliver_webhooks(everything=True) == _counts()
    assert len(receiver.deliveries) == 4


def test_after_72_hours_an_event_is_dropped(
    client: Client, receiver: Receiver, clock: Clock
) -> None:
    receiver.statuses = [503]
    client.tiktok.remove(client.link()["open_id"])

    clock.advance(hours=72)

    assert client.tiktok.deliver_webhooks() == _counts(dropped=1)
    assert client.control("GET", "/webhooks").json()["events"][0]["dropped"] is True


@pytest.mark.parametrize(("setting", "passed"), [("re_signed", 60), ("same_t", 0)])
def test_a_retry_is_signed_anew_or_keeps_its_time(
    client: Client, receiver: Receiver, clock: Clock, setting: str, passed: int
) -> None:
    client.tiktok.settings(webhook_retry=setting)
    receiver.statuses = [500]
    client.tiktok.remove(client.link()["open_id"])
    clock.advance(minutes=1)

    client.tiktok.deliver_webhooks()

    first, second = _timestamps(receiver)
    assert second - first == passed
    assert _is_genuine(receiver, 0)
    assert _is_genuine(receiver, 1)


def test_an_event_may_come_twice(client: Client, receiver: Receiver) -> None:
    client.tiktok.settings(webhook_delivery="duplicate")

    client.tiktok.remove(client.link()["open_id"])

    first, second = receiver.deliveries
    assert first.body == second.body


def test_an_event_may_come_late(client: Client, receiver: Receiver, clock: Clock) -> None:
    client.tiktok.settings(webhook_delivery="delayed", webhook_delay_seconds=7_200)
    created_at = clock.now
    client.tiktok.remove(client.link()["open_id"])

    assert client.tiktok.deliver_webhooks() == _counts(waiting=1)
    clock.advance(hours=2)
    assert client.tiktok.deliver_webhooks() == _counts(delivered=1)

    told = json.loads(receiver.deliveries[0].body)
    assert told["create_time"] == int(created_at.timestamp())
    assert _timestamps(receiver) == [int(clock.now.timestamp())]


def test_events_may_come_in_the_wrong_order(
    client: Client, receiver: Receiver, clock: Clock
) -> None:
    client.tiktok.settings(webhook_delivery="reordered")
    for reason in (1, 4):
        client.tiktok.remove(client.link()["open_id"], reason)
        clock.advance(seconds=1)
    assert receiver.deliveries == []

    client.tiktok.deliver_webhooks()

    reasons = [json.loads(d.body)["content"] for d in receiver.deliveries]
    assert reasons == ['{"reason": 4 }', '{"reason": 1 }']


def test_an_event_may_be_signed_with_the_wrong_secret(client: Client, receiver: Receiver) -> None:
    client.tiktok.settings(webhook_secret="wrong")

    client.tiktok.remove(client.link()["open_id"])

    assert not _is_genuine(receiver)


def test_a_new_client_secret_signs_from_then_on(client: Client, receiver: Receiver) -> None:
    client.control("POST", "/apps/default", {"client_secret": "rotated"})
    assert client.refresh("any").json()["error"] == "invalid_client"

    client.control("POST", "/webhooks", {"app": "default", "event": "something.new"})

    (delivery,) = receiver.deliveries
    assert delivery.signature == sign("rotated", _timestamps(receiver)[0], delivery.body)


def test_any_event_can_be_sent(client: Client, receiver: Receiver) -> None:
    answer = client.control(
        "POST",
        "/webhooks",
        {
            "event": "video.publish.completed",
            "content": {"share_id": "s-1"},
            "open_id": "somebody",
            "create_time": 1_700_000_000,
        },
    )

    assert answer.json() == {"queued": True}
    assert json.loads(receiver.deliveries[0].body) == {
        "client_key": WEB.client_key,
        "event": "video.publish.completed",
        "create_time": 1_700_000_000,
        "user_openid": "somebody",
        "content": '{"share_id": "s-1"}',
    }


def test_a_receiver_that_is_down_is_a_failed_attempt(client: Client, clock: Clock) -> None:
    with webhook_receiver() as gone:
        pass
    client.tiktok.tiktok.change_app("default", {"webhook_url": gone.url})

    client.tiktok.remove(client.link()["open_id"])

    (event,) = client.control("GET", "/webhooks").json()["events"]
    assert event["statuses"] == [None]
    assert event["delivered"] is False


def _counts(**expected: int) -> dict[str, int]:
    return {"delivered": 0, "failed": 0, "dropped": 0, "waiting": 0} | expected
