"""What callers may send: every limit at its edge, unknown fields refused, nothing guessed."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiktok_linking.accounts import RefreshMode, Status
from tiktok_linking.errors import InvalidRequest
from tiktok_linking.sessions import Completion
from tiktok_linking.web.bodies import (
    read_account_change,
    read_completion_request,
    read_list_query,
    read_relink_request,
    read_revoke_flag,
    read_session_request,
    read_token_request,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=5,
)


def session(**fields: Any) -> Any:
    return read_session_request({"end_user_id": "u_42"} | fields)


def refused(field: str, **fields: Any) -> None:
    with pytest.raises(InvalidRequest, match=field):
        session(**fields)


# -- sessions -----------------------------------------------------------------------------------


def test_a_session_needs_no_more_than_whose_it_is() -> None:
    wanted = session()

    assert wanted.end_user_id == "u_42"
    assert wanted.expires_in == timedelta(minutes=30)
    assert wanted.completion is None, "the stack's own"
    assert (wanted.tenant_id, wanted.return_url, wanted.scopes_required) == (None, None, None)
    assert not wanted.switch_account


def test_a_session_names_its_end_user() -> None:
    with pytest.raises(InvalidRequest, match="end_user_id"):
        read_session_request({})


@pytest.mark.parametrize("name", ["end_user_id", "tenant_id"])
@pytest.mark.parametrize("value", ["u", "x" * 256, "é" * 128, "|#\n\x00", " ", "\u202e", "👩‍👩‍👧"])
def test_an_id_of_the_teams_is_kept_byte_for_byte(name: str, value: str) -> None:
    assert getattr(session(**{name: value}), name) == value


@pytest.mark.parametrize("name", ["end_user_id", "tenant_id"])
@pytest.mark.parametrize("value", ["", "x" * 257, "é" * 129, 42, None, [], {}, True, "\ud800"])
def test_an_id_of_the_teams_is_1_to_256_bytes(name: str, value: object) -> None:
    refused(name, **{name: value})


@pytest.mark.parametrize(
    ("name", "most"), [("end_user_label", 200), ("app_registration", 32), ("return_url", 2048)]
)
def test_texts_have_a_length(name: str, most: int) -> None:
    assert getattr(session(**{name: "x" * most}), name) == "x" * most
    wrongs: list[object] = ["", "x" * (most + 1), "a\nb", "a\x00b", "a\x7f", 7, None, "\ud800"]
    for wrong in wrongs:
        refused(name, **{name: wrong})


@pytest.mark.parametrize("turn", ["\u202e", "\u202a", "\u2066", "\u2069"])
def test_a_label_cannot_turn_the_direction_of_the_page(turn: str) -> None:
    """It stands in the sentence by which a person decides whose link this is."""
    refused("end_user_label", end_user_label=f"Ada{turn}moc.elpmaxe@ada")


@pytest.mark.parametrize("value", [60, 1800, 86_400])
def test_a_session_lives_a_minute_to_a_day(value: int) -> None:
    assert session(expires_in=value).expires_in == timedelta(seconds=value)


@pytest.mark.parametrize("value", [59, 86_401, 0, -1, 60.0, "60", True, None, 10**30])
def test_any_other_life_is_refused(value: object) -> None:
    refused("expires_in", expires_in=value)


@pytest.mark.parametrize("value", ["de", "de-DE", "zh-Hans-CN", "es-419"])
def test_a_locale_is_a_language_tag(value: str) -> None:
    assert session(locale=value).locale == value


@pytest.mark.parametrize("value", ["", "d", "de_DE", "de-", "x" * 36, "de<script>", "de\n", 1])
def test_any_other_locale_is_refused(value: object) -> None:
    refused("locale", locale=value)


def test_scopes_are_lists_of_scopes() -> None:
    wanted = session(scopes={"required": ["video.list", "video.list"], "optional": []})

    assert (wanted.scopes_required, wanted.scopes_optional) == (("video.list",), ())
    assert session(scopes={"required": ["video.list"]}).scopes_optional == ()
    assert session(scopes={"required": [f"a.b{n}" for n in range(20)]}).scopes_required


@pytest.mark.parametrize(
    "value",
    [
        "video.list",
        ["video.list"],
        None,
        {"required": "video.list"},
        {"required": None},
        {"required": ["video.list,video.publish"]},
        {"required": ["Video"]},
        {"required": [7]},
        {"required": [["video.list"]]},
        {"required": [f"a.b{n}" for n in range(21)]},
        {"optional": [""]},
        {"requierd": []},
    ],
)
def test_any_other_scopes_are_refused(value: object) -> None:
    with pytest.raises(InvalidRequest):
        session(scopes=value)


@pytest.mark.parametrize("completion", Completion)
def test_completion_is_one_of_two(completion: Completion) -> None:
    assert session(completion=completion.value).completion is completion
    for wrong in ("App", "Browser", "", None, 1, ["browser"]):
        refused("completion", completion=wrong)


def test_a_completion_is_a_code_and_a_user() -> None:
    read = read_completion_request({"completion_code": "c" * 43, "end_user_id": "u_42"})

    assert (read.completion_code.reveal(), read.end_user_id) == ("c" * 43, "u_42")
    assert "c" * 43 not in repr(read)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"completion_code": "c" * 43},
        {"end_user_id": "u_42"},
        {"completion_code": "c" * 42, "end_user_id": "u_42"},
        {"completion_code": "c" * 42 + "!", "end_user_id": "u_42"},
        {"completion_code": ["c" * 43], "end_user_id": "u_42"},
        {"completion_code": "c" * 43, "end_user_id": ""},
        {"completion_code": "c" * 43, "end_user_id": 42},
        {"completion_code": "c" * 43, "end_user_id": "u_42", "tenant_id": "acme"},
    ],
)
def test_any_other_completion_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        read_completion_request(body)


def test_switching_accounts_is_yes_or_no() -> None:
    assert session(switch_account=True).switch_account
    for wrong in (1, "true", None):
        refused("switch_account", switch_account=wrong)


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"k": ""},
        {"k" * 64: "v" * 256},
        {f"k{n}": "v" for n in range(20)},
        {"é": "👩‍👩‍👧"},
    ],
)
def test_metadata_is_a_small_object_of_texts(metadata: dict[str, str]) -> None:
    assert session(metadata=metadata).metadata == metadata


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        [],
        "x",
        {"": "v"},
        {"k" * 65: "v"},
        {"k": "v" * 257},
        {"k": 7},
        {"k": None},
        {"k": {"nested": "v"}},
        {f"k{n}": "v" for n in range(21)},
        {f"k{n}": "é" * 128 for n in range(8)},
        {"k": "\ud800"},
    ],
)
def test_any_other_metadata_is_refused(metadata: object) -> None:
    refused("metadata", metadata=metadata)


@pytest.mark.parametrize(
    "field",
    ["id", "status", "url", "redirect_uri", "client_key", "relink_account_id", "account_id", "x"],
)
def test_nobody_sets_a_field_that_is_not_theirs(field: str) -> None:
    refused("unknown field", **{field: "x"})


def test_a_relink_cannot_say_whose_it_is() -> None:
    wanted = read_relink_request({"return_url": "https://a"})

    assert wanted.return_url == "https://a"
    for field in ("end_user_id", "tenant_id", "app_registration", "metadata"):
        with pytest.raises(InvalidRequest, match="unknown field"):
            read_relink_request({field: "x"})


# -- tokens -------------------------------------------------------------------------------------


def test_a_vend_has_defaults() -> None:
    wanted = read_token_request({})

    assert wanted.min_ttl == timedelta(seconds=300)
    assert (wanted.required_scopes, wanted.purpose, wanted.rejected) == ((), None, False)


@pytest.mark.parametrize(("value", "fits"), [(0, True), (3600, True), (3601, False), (-1, False)])
def test_a_token_may_be_asked_to_live_an_hour(value: int, fits: bool) -> None:
    if fits:
        wanted = read_token_request({"min_ttl_seconds": value})
        assert wanted.min_ttl == timedelta(seconds=value)
    else:
        with pytest.raises(InvalidRequest, match="min_ttl_seconds"):
            read_token_request({"min_ttl_seconds": value})


@pytest.mark.parametrize(
    "body",
    [
        {"min_ttl_seconds": "300"},
        {"min_ttl_seconds": True},
        {"required_scopes": "video.list"},
        {"required_scopes": ["x y"]},
        {"purpose": "x" * 101},
        {"purpose": "line\nbreak"},
        {"purpose": ""},
        {"rejected": "yes"},
        {"force": True},
    ],
)
def test_any_other_vend_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        read_token_request(body)


# -- accounts -----------------------------------------------------------------------------------


def test_a_change_leaves_what_it_does_not_name() -> None:
    change = read_account_change({"metadata": {"a": "1"}})

    assert (change.metadata, change.mode) == ({"a": "1"}, None)
    assert read_account_change({}).metadata is None


@pytest.mark.parametrize("mode", list(RefreshMode))
def test_a_mode_is_one_of_three(mode: RefreshMode) -> None:
    assert read_account_change({"refresh_mode": mode.value}).mode is mode


@pytest.mark.parametrize(
    "body",
    [
        {"refresh_mode": "eager"},
        {"refresh_mode": None},
        {"refresh_mode": 1},
        {"status": "active"},
        {"end_user_id": "u_1"},
        {"relink_by": "2030-01-01"},
    ],
)
def test_any_other_change_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        read_account_change(body)


def test_a_list_has_defaults() -> None:
    query, cursor = read_list_query({})

    assert (query.tenant_id, query.end_user_id, query.status) == (None, None, None)
    assert (query.limit, query.relink_within_days, cursor) == (25, None, None)


def test_a_list_takes_its_filters() -> None:
    query, cursor = read_list_query(
        {
            "tenant_id": "t",
            "end_user_id": "u",
            "status": "relink_required",
            "relink_within_days": "30",
            "sort": "relink_by",
            "limit": "100",
            "cursor": "abc",
        }
    )

    assert (query.tenant_id, query.end_user_id) == ("t", "u")
    assert (query.status, query.relink_within_days) == (Status.RELINK_REQUIRED, 30)
    assert (query.limit, cursor) == (100, "abc")


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "101"},
        {"limit": ""},
        {"limit": "-1"},
        {"limit": "1.0"},
        {"limit": "٣"},
        {"limit": "9" * 5000},
        {"relink_within_days": "401"},
        {"relink_within_days": "x"},
        {"status": ""},
        {"status": "ACTIVE"},
        {"status": "expired"},
        {"sort": "linked_at"},
        {"tenant_id": ""},
        {"end_user_id": ""},
        {"end_user_id": "x" * 257},
        {"cursor": ""},
        {"cursor": "x" * 1025},
    ],
)
def test_any_other_list_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest):
        read_list_query(query)


@pytest.mark.parametrize(("query", "revokes"), [({}, True), ({"revoke": "false"}, False)])
def test_unlinking_revokes_unless_told_otherwise(query: dict[str, str], revokes: bool) -> None:
    assert read_revoke_flag(query) is revokes


@pytest.mark.parametrize("value", ["", "0", "False", "no"])
def test_anything_but_true_or_false_is_refused(value: str) -> None:
    with pytest.raises(InvalidRequest):
        read_revoke_flag({"revoke": value})


# -- whatever comes -----------------------------------------------------------------------------

FIELDS = st.sampled_from(
    [
        "end_user_id",
        "end_user_label",
        "tenant_id",
        "app_registration",
        "metadata",
        "return_url",
        "completion",
        "expires_in",
        "locale",
        "switch_account",
        "scopes",
        "min_ttl_seconds",
        "required_scopes",
        "purpose",
        "rejected",
        "refresh_mode",
    ]
)


@given(st.dictionaries(FIELDS, JSON, max_size=4))
def test_no_body_raises_anything_but_a_refusal(body: dict[str, Any]) -> None:
    for read in (read_session_request, read_token_request, read_account_change):
        with suppress(InvalidRequest):
            read(body)


@given(st.text(min_size=1, max_size=30).filter(lambda t: t.isprintable() and len(t) > 3))
def test_a_refusal_never_echoes_what_was_sent(value: str) -> None:
    marked = f"«{value}»"
    for body in ({"end_user_id": "u", "locale": marked}, {"end_user_id": "u", marked: 1}):
        with pytest.raises(InvalidRequest) as refusal:
            read_session_request(body)

        assert marked not in refusal.value.detail
