"""What TikTok's portal would register, and what not."""

import json
from typing import Any

import pytest

from local.tiktok.portal import App, PortalRefused, apps_from_json

GIVEN: dict[str, Any] = {
    "name": "default",
    "client_key": "key",
    "client_secret": "the-secret",
    "platform": "web",
    "redirect_uris": ["https://link.example.test/callback"],
}


def test_the_basic_scope_belongs_to_every_app() -> None:
    assert App.from_mapping(GIVEN).scopes == ("user.info.basic",)
    assert App.from_mapping(GIVEN | {"scopes": ["video.list"]}).scopes == (
        "user.info.basic",
        "video.list",
    )


def test_an_app_does_not_show_its_secret() -> None:
    assert "the-secret" not in repr(App.from_mapping(GIVEN))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"redirect_uris": ["http://link.example.test/callback"]}, "https"),
        ({"redirect_uris": ["http://127.0.0.1:3000/callback"]}, "https"),
        ({"redirect_uris": ["https://link.example.test/callback?a=b"]}, "query"),
        ({"redirect_uris": ["https://link.example.test/callback#"]}, "fragment"),
        ({"redirect_uris": [f"https://link.example.test/{'c' * 500}"]}, "512"),
        ({"redirect_uris": ["/callback"]}, "absolute"),
        ({"redirect_uris": [f"https://link.example.test/{n}" for n in range(11)]}, "10"),
        ({"redirect_uris": []}, "redirect_uris"),
        ({"platform": "desktop"}, "localhost"),
        ({"platform": "desktop", "redirect_uris": ["http://127.0.0.1/callback"]}, "port"),
        ({"platform": "desktop", "redirect_uris": ["http://localhost:x/callback"]}, "port"),
        ({"platform": "desktop", "redirect_uris": ["ftp://localhost:1/callback"]}, "http"),
        ({"platform": "phone"}, "platform"),
        ({"scopes": ["comment.read.public"]}, "comment.read.public"),
        ({"scopes": "video.list"}, "scopes"),
        ({"client_id": "key"}, "client_id"),
        ({"client_secret": ""}, "client_secret"),
        ({"client_key": 7}, "client_key"),
        ({"sandbox": "yes"}, "sandbox"),
    ],
)
def test_what_the_portal_would_not_register_is_refused(
    changes: dict[str, object], named: str
) -> None:
    with pytest.raises(PortalRefused, match=named):
        App.from_mapping(GIVEN | changes)


def test_test_hosts_can_be_let_in() -> None:
    app = App.from_mapping(
        GIVEN | {"redirect_uris": ["http://link.localhost:3000/callback"], "any_redirect": True}
    )

    assert app.accepts_redirect("http://link.localhost:3000/callback")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "[1]", json.dumps([{"name": "x"}])])
def test_apps_must_be_a_list_of_whole_registrations(text: str) -> None:
    with pytest.raises(PortalRefused):
        apps_from_json(text)
