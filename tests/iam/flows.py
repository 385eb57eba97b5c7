"""What each function is there for, in flows that fail when a right is missing.

A flow is a generator: up to its `yield` it sets the stage, what comes after must work.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html import unescape
from typing import Any

from tests.faults.people import ACCESS_SECONDS, Person, Stage

Flow = Callable[[Stage], Iterator[None]]
FLOWS: dict[str, Flow] = {}

DEAD = ACCESS_SECONDS + 100  # seconds after which an access token has expired
EPOCH_DAYS = 91  # by default a data key is used for 90
_BUTTON = re.compile(r'<a class="?go"? href="([^"]+)">')


def flow(course: Flow) -> Flow:
    FLOWS[course.__name__] = course
    return course


# ---- authorize ---------------------------------------------------------------------------------


@flow
def show_the_connect_page(stage: Stage) -> Iterator[None]:
    session = _begin(stage, stage.person())
    yield
    assert stage.world.get(f"/connect/{session}").status_code == 200


@flow
def go_to_tiktok(stage: Stage) -> Iterator[None]:
    page = stage.world.get(f"/connect/{_begin(stage, stage.person())}")
    button = _BUTTON.search(page.text)
    assert button is not None, page.text
    yield
    assert stage.world.get(unescape(button[1])).status_code == 302


# ---- callback ----------------------------------------------------------------------------------


@flow
def link(stage: Stage) -> Iterator[None]:
    session, callback, cookie = stage.to_callback(stage.person())
    yield
    stage.come_back(callback, cookie)
    assert stage.session(session)["status"] == "completed"


@flow
def link_in_a_new_epoch(stage: Stage) -> Iterator[None]:
    """No data key is there yet: whoever comes first makes them."""
    stage.world.advance(days=EPOCH_DAYS)
    session, callback, cookie = stage.to_callback(stage.person())
    yield
    stage.come_back(callback, cookie)
    assert stage.session(session)["status"] == "completed"


@flow
def park_the_code(stage: Stage) -> Iterator[None]:
    """Completion mode app, up to the product's own login."""
    session, callback, cookie = _to_callback_in_app_mode(stage, stage.person())
    yield
    back = stage.come_back(callback, cookie)
    assert "completion_code=" in back.headers.get("Location", ""), back.text
    assert stage.session(session)["status"] == "awaiting_completion"


@flow
def complete(stage: Stage) -> Iterator[None]:
    person = stage.person()
    session, code = stage.to_completion(person)
    yield
    assert stage.complete(session, code, person).status_code == 200


@flow
def rescue_a_link(stage: Stage) -> Iterator[None]:
    """The table goes away when the grant is to be saved, and the pair is worth a message."""
    session, callback, cookie = stage.to_callback(stage.person())
    before = _denied(stage)
    yield
    _lose_the_table_at_the_save(stage, "callback")
    stage.come_back(callback, cookie)
    _worked_off(stage, before)
    assert stage.session(session)["status"] == "completed"


# ---- sessions ----------------------------------------------------------------------------------


@flow
def make_a_session(stage: Stage) -> Iterator[None]:
    person = stage.person()
    yield
    wish = {"end_user_id": person.end_user}
    assert stage.world.api("POST", "/v1/link-sessions", json=wish).status_code == 201


@flow
def show_a_session(stage: Stage) -> Iterator[None]:
    session = _begin(stage, stage.person())
    yield
    assert stage.world.api("GET", f"/v1/link-sessions/{session}").status_code == 200


@flow
def cancel_a_session(stage: Stage) -> Iterator[None]:
    session = _begin(stage, stage.person())
    yield
    answer = stage.world.api("DELETE", f"/v1/link-sessions/{session}")
    assert (answer.status_code, answer.json().get("status")) == (200, "cancelled")


@flow
def relink(stage: Stage) -> Iterator[None]:
    person = stage.person()
    account = stage.link(person)
    yield
    begun = stage.world.api("POST", f"/v1/accounts/{account}/relink", json={})
    assert begun.status_code == 201
    assert stage.link(person, begun.json()["id"]) == account


# ---- accounts ----------------------------------------------------------------------------------


@flow
def list_all_accounts(stage: Stage) -> Iterator[None]:
    stage.link(stage.person())
    yield
    answer = stage.world.api("GET", "/v1/accounts")
    assert answer.status_code == 200
    assert answer.json()["items"]


@flow
def list_accounts_of_one_user(stage: Stage) -> Iterator[None]:
    person = stage.person()
    account = stage.link(person)
    yield
    answer = stage.world.api("GET", "/v1/accounts", params={"end_user_id": person.end_user})
    assert answer.status_code == 200
    assert [item["id"] for item in answer.json()["items"]] == [account]


@flow
def show_an_account(stage: Stage) -> Iterator[None]:
    account = stage.link(stage.person())
    yield
    assert stage.world.api("GET", f"/v1/accounts/{account}").status_code == 200


@flow
def change_an_account(stage: Stage) -> Iterator[None]:
    account = stage.link(stage.person())
    yield
    wish = {"refresh_mode": "always", "metadata": {"plan": "gold"}}
    answer = stage.world.api("PATCH", f"/v1/accounts/{account}", json=wish)
    assert answer.status_code == 200
    assert answer.json()["metadata"] == {"plan": "gold"}


@flow
def remind(stage: Stage) -> Iterator[None]:
    stage.link(stage.person())
    stage.world.advance(days=200)
    yield
    answer = stage.world.invoke("RemindFunction")
    assert answer["error"] is None, answer
    assert answer["payload"]["passed"] >= 1


# ---- tokens ------------------------------------------------------------------------------------


@flow
def vend(stage: Stage) -> Iterator[None]:
    account = stage.link(stage.person())
    yield
    answer = stage.vend(account)
    assert answer.status_code == 200
    assert stage.is_alive(answer.json()["access_token"])


@flow
def vend_after_expiry(stage: Stage) -> Iterator[None]:
    account = stage.link(stage.person())
    stage.world.advance(seconds=DEAD)
    yield
    answer = stage.vend(account)
    assert answer.status_code == 200
    assert answer.json()["refreshed"] is True


@flow
def vend_past_the_deadline(stage: Stage) -> Iterator[None]:
    """Whoever asks first writes down that the link needs its owner."""
    account = stage.link(stage.person())
    stage.world.advance(days=400)
    yield
    answer = stage.vend(account)
    assert (answer.status_code, answer.json()["code"]) == (409, "relink_required")


# ---- unlink ------------------------------------------------------------------------------------


@flow
def unlink(stage: Stage) -> Iterator[None]:
    account = stage.link(stage.person())
    yield
    answer = stage.unlink(account)
    assert answer.status_code == 200
    assert answer.json()["revoked_at_tiktok"] is True


@flow
def unlink_with_a_dead_token(stage: Stage) -> Iterator[None]:
    """TikTok revokes by a living access token alone, so it is renewed first."""
    account = stage.link(stage.person())
    stage.world.advance(seconds=DEAD)
    yield
    answer = stage.unlink(account)
    assert answer.status_code == 200
    assert answer.json()["revoked_at_tiktok"] is True


@flow
def unlink_during_an_outage(stage: Stage) -> Iterator[None]:
    """What TikTok did not take is handed to the queue, for a try in a run of its own."""
    account = stage.link(stage.person())
    stage.world.tiktok("POST", "/faults", {"endpoint": "revoke", "kind": "500_before", "times": 1})
    before = _denied(stage)
    yield
    finished = _finished(stage)
    assert stage.unlink(account).json()["revoked_at_tiktok"] == "pending"
    _worked_off(stage, before)
    assert _finished(stage) == finished + 1


@flow
def finish_an_unlink(stage: Stage) -> Iterator[None]:
    """The plan finds what an unlink left, the queue brings it, and it is seen to."""
    account = stage.link(stage.person())
    stage.world.tiktok("POST", "/faults", {"endpoint": "revoke", "kind": "500_before", "times": 2})
    assert stage.unlink(account).json()["revoked_at_tiktok"] == "pending"
    stage.settle()
    stage.world.advance(minutes=10)
    before, finished = _denied(stage), _finished(stage)
    yield
    planned = stage.world.invoke("RefreshFunction")
    assert planned["error"] is None, planned
    _worked_off(stage, before)
    assert _finished(stage) == finished + 1


@flow
def erase_an_end_user(stage: Stage) -> Iterator[None]:
    yield
    answer = stage.world.api("DELETE", "/v1/end-users/u_nobody")
    assert answer.status_code == 200
    assert answer.json()["complete"] is True


# ---- webhook -----------------------------------------------------------------------------------


@flow
def remove_the_app_at_tiktok(stage: Stage) -> Iterator[None]:
    account = stage.link(stage.person())
    open_id = stage.account(account)["open_id"]
    stage.world.advance(hours=1)
    yield
    stage.world.tiktok("POST", f"/users/{open_id}/remove", {"reason": 1})
    assert stage.account(account)["status"] == "revoked"


@flow
def serve_a_verification_file(stage: Stage) -> Iterator[None]:
    yield
    assert stage.world.get("/tiktoklocal.txt").status_code == 200


# ---- refresh -----------------------------------------------------------------------------------


@flow
def renew_by_schedule(stage: Stage) -> Iterator[None]:
    """The plan finds what is due, the queue brings it, a worker renews it."""
    account = stage.link(stage.person())
    assert stage.vend(account).status_code == 200  # what is used is kept warm
    stage.world.advance(seconds=DEAD)
    before = _denied(stage)
    yield
    planned = stage.world.invoke("RefreshFunction")
    assert planned["error"] is None, planned
    _worked_off(stage, before)
    assert stage.account(account)["refresh"]["rotations"] == 1


@flow
def work_off_the_queue(stage: Stage) -> Iterator[None]:
    account = stage.link(stage.person())
    assert stage.vend(account).status_code == 200
    stage.world.advance(seconds=DEAD)
    stage.world.pause_deliveries("refresh")
    stage.world.invoke("RefreshFunction")
    before = _denied(stage)
    yield
    stage.world.pause_deliveries()
    _worked_off(stage, before)
    assert stage.account(account)["refresh"]["rotations"] == 1


@flow
def renew_when_asked(stage: Stage) -> Iterator[None]:
    account = stage.link(stage.person())
    stage.world.advance(seconds=DEAD)
    yield
    assert _outcome(stage.renew(account)) == "renewed"


@flow
def renew_in_a_new_epoch(stage: Stage) -> Iterator[None]:
    account = stage.link(stage.person())
    stage.world.advance(days=EPOCH_DAYS)
    yield
    assert _outcome(stage.renew(account)) == "renewed"


@flow
def rescue_a_renewal(stage: Stage) -> Iterator[None]:
    account = stage.link(stage.person())
    stage.world.advance(seconds=DEAD)
    before = _denied(stage)
    yield
    _lose_the_table_at_the_save(stage, "refresh")
    stage.renew(account)
    _worked_off(stage, before)
    assert stage.account(account)["refresh"]["rotations"] == 1


@flow
def tell_how_much_waits_for_rescue(stage: Stage) -> Iterator[None]:
    told = _depths(stage)
    yield
    assert stage.world.invoke("RefreshFunction")["error"] is None
    assert _depths(stage) == told + 1


# ---- rescue ------------------------------------------------------------------------------------


@flow
def land_a_rescued_link(stage: Stage) -> Iterator[None]:
    session, callback, cookie = stage.to_callback(stage.person())
    stage.world.pause_deliveries("rescue")
    _lose_the_table_at_the_save(stage, "callback")
    stage.come_back(callback, cookie)
    assert stage.session(session)["status"] != "completed"
    before = _denied(stage)
    yield
    stage.world.pause_deliveries()
    _worked_off(stage, before)
    assert stage.session(session)["status"] == "completed"


# ---- publish -----------------------------------------------------------------------------------


@flow
def tell_of_a_link(stage: Stage) -> Iterator[None]:
    """One event on the bus and one line in the timeline."""
    stage.world.pause_deliveries("publish")
    account = stage.link(stage.person())
    before = _denied(stage)
    yield
    stage.world.pause_deliveries()
    _worked_off(stage, before)
    assert account in [event["detail"].get("account_id") for event in stage.world.events()]
    told = stage.world.api("GET", f"/v1/accounts/{account}/events").json()
    assert [item["type"] for item in told["items"]] == ["account.linked"]


@flow
def tell_of_an_unlink(stage: Stage) -> Iterator[None]:
    """Once: that it was told is written to the account."""
    account = stage.link(stage.person())
    stage.settle()
    stage.world.pause_deliveries("publish")
    assert stage.unlink(account).status_code == 200
    before = _denied(stage)
    yield
    stage.world.pause_deliveries()
    _worked_off(stage, before)
    told = stage.world.api("GET", f"/v1/accounts/{account}/events").json()
    assert told["items"][0]["type"] == "account.unlinked"


# ---- steps -------------------------------------------------------------------------------------


def _begin(stage: Stage, person: Person, **wishes: str) -> str:
    body = {"end_user_id": person.end_user, **wishes}
    return str(stage.world.api("POST", "/v1/link-sessions", json=body).json()["id"])


def _to_callback_in_app_mode(stage: Stage, person: Person) -> tuple[str, str, str]:
    product = stage.world.endpoints["app"] + "/linked"
    return stage.to_callback(person, _begin(stage, person, completion="app", return_url=product))


def _lose_the_table_at_the_save(stage: Stage, function: str) -> None:
    """The function's first update goes through, and nothing at the table from the second on."""
    stage.world.arm_fault(
        function,
        kind="refuse",
        call="dynamodb.UpdateItem",
        nth=2,
        onwards=True,
        service="dynamodb",
        cold=True,
    )


def _worked_off(stage: Stage, before: int) -> None:
    """Wait until the queues are empty; fail as soon as more was denied than ``before``."""
    for _ in range(50):
        if _is_settled(stage):
            return
        denied = denials(stage.world.logs())
        assert len(denied) <= before, denied
    raise AssertionError("the queues are not worked off")


def _is_settled(stage: Stage) -> bool:
    try:
        stage.world.settle(timeout_seconds=1)
    except AssertionError:
        return False
    return True


def _outcome(answer: dict[str, Any]) -> str | None:
    payload = answer["payload"] or {}
    return payload.get("outcome")


def _depths(stage: Stage) -> int:
    return sum("RescueDepth" in record for record in stage.world.logs("refresh"))


def _finished(stage: Stage) -> int:
    """How many unlinks the queue has brought to their end."""
    told = [r for r in stage.world.logs("unlink") if r.get("message") == "unlink looked at again"]
    return sum(record["revoked_at_tiktok"] == "true" for record in told)


def _denied(stage: Stage) -> int:
    return len(denials(stage.world.logs()))


def denials(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What AWS denied: to a function by its own word, to the poller of its queue by the world's."""
    return [
        record
        for record in records
        if record.get("message") == "access denied"
        or str(record.get("message")).startswith("Lambda's poller: ")
    ]
