"""The whole life of a link with IAM enforced: each function has its own role and no more.

What MiniStack cannot evaluate is taken out of the policies first; local/deploy.py lists it, and
tests/template holds those parts on the template itself.
"""

from __future__ import annotations

from local.testing import running_world
from tests.faults.people import Stage, vend_through_outage
from tests.flows.journey import Journey
from tests.flows.test_completion import Attempt, code_of


def test_every_function_manages_with_the_rights_of_its_own_role() -> None:
    with running_world(AUTH="true") as world:
        stage = Stage(world)
        account = stage.link(stage.person())
        assert stage.vend(account).status_code == 200

        world.advance(hours=2, seconds=100)
        assert stage.vend(account).json()["refreshed"] is True

        change = {"refresh_mode": "always", "metadata": {"plan": "gold"}}
        assert world.api("PATCH", f"/v1/accounts/{account}", json=change).status_code == 200
        assert len(world.api("GET", "/v1/accounts").json()["items"]) == 1
        assert world.api("POST", f"/v1/accounts/{account}/relink", json={}).status_code == 201

        world.advance(hours=2, seconds=100)
        assert world.invoke("RefreshFunction")["payload"] == {"planned": 1}
        world.settle()
        assert stage.account(account)["refresh"]["rotations"] == 2

        world.advance(hours=2, seconds=100)
        assert stage.unlink(account).json()["revoked_at_tiktok"] is True

        removed = stage.link(stage.person())
        world.advance(hours=1)
        open_id = stage.account(removed)["open_id"]
        world.tiktok("POST", f"/users/{open_id}/remove", {"reason": 1})
        assert stage.account(removed)["status"] == "revoked"

        journey = Journey(world)
        journey.tiktok.control("POST", "/users", {"user": "grace"})
        attempt = Attempt(journey, "u_grace", "grace", completion="app")
        answer = attempt.complete(code_of(attempt.come_back()))
        assert answer.json() == stage.account(answer.json()["id"])
        assert [record for record in world.logs() if record.get("level") == "ERROR"] == []


def test_a_pair_that_could_not_be_saved_is_rescued_under_its_own_role() -> None:
    """The table hangs from the save on: the worst outage, since nothing says no."""
    with running_world(AUTH="true") as world:
        stage = Stage(world)
        account = stage.link(stage.person())
        world.advance(hours=2, seconds=100)
        world.arm_fault("refresh", cold=True)
        assert stage.vend(account).status_code == 200
        save = len(world.trace("refresh"))
        world.advance(hours=2, seconds=100)
        world.arm_fault(
            "refresh", kind="hang", call=save, onwards=True, service="dynamodb", cold=True
        )

        vend_through_outage(stage, account)

        world.settle()
        assert any("pair rescued" in str(record) for record in world.logs("rescue"))
        assert stage.vend(account).status_code == 200
