"""Who calls, and which tenant that is: exactly one reading of every name, or none."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tiktok_linking.callers import Caller, Tenant, caller_of, principal_of, read_caller_tenants
from tiktok_linking.errors import NotFound

TENANTS = {
    "backend-of-acme": Tenant("acme"),
    "Backend_of.b+x@y": Tenant("b", ("second",)),
    "ops": Tenant("ops"),
}
ROLE = "arn:aws:sts::123456789012:assumed-role/{}/session"
USER = "arn:aws:iam::123456789012:user/{}"


# -- the parameter ------------------------------------------------------------------------------


def test_pairs_of_role_and_tenant_may_name_registrations() -> None:
    text = "backend-of-acme=acme,Backend_of.b+x@y=b:second,third=org/3:default+second"

    assert read_caller_tenants(text) == {
        "backend-of-acme": Tenant("acme"),
        "Backend_of.b+x@y": Tenant("b", ("second",)),
        "third": Tenant("org/3", ("default", "second")),
    }


def test_several_roles_may_be_one_tenants() -> None:
    assert read_caller_tenants("web=acme,jobs=acme") == {
        "web": Tenant("acme"),
        "jobs": Tenant("acme"),
    }


def test_nobody_may_be_mapped() -> None:
    assert read_caller_tenants("none") == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "none,none",
        "None",
        "role",
        "role=",
        "=tenant",
        "role=tenant,",
        ",role=tenant",
        "role=tenant,,other=tenant",
        "role=tenant, other=tenant",
        " role=tenant",
        "role=tenant\n",
        "role=tenant\x00",
        "role=a=b",
        "role=tenant:",
        "role=tenant:Second",
        "role=tenant:second+",
        "role=tenant:second:default",
        "role=tenant;other=tenant",
        "arn:aws:iam::123456789012:role/role=tenant",
        "team/role=tenant",
        "r\u043ele=tenant",  # a Cyrillic o
        "role=ten\u0430nt",  # a Cyrillic a
        "role=\u202etenant",
        "*=tenant",
        "role*=tenant",
        "r" * 65 + "=tenant",
        "role=" + "t" * 129,
        "role=one,role=two",
        "role=one,role=one",
        "role=one,Role=two",
    ],
)
def test_what_is_not_such_a_list_is_no_list_at_all(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_caller_tenants(text)


# -- the caller ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arn", "expected"),
    [
        (ROLE.format("backend-of-acme"), Caller("backend-of-acme", Tenant("acme"))),
        (ROLE.format("Backend_of.b+x@y"), Caller("Backend_of.b+x@y", Tenant("b", ("second",)))),
        ("arn:aws-us-gov:sts::123456789012:assumed-role/ops/i-0a1b", Caller("ops", Tenant("ops"))),
        # A user of that name is held to the tenant as well: the other reading would free it.
        (USER.format("ops"), Caller("ops", Tenant("ops"))),
        (USER.format("team/a/ops"), Caller("ops", Tenant("ops"))),
        (ROLE.format("other"), Caller("other")),
        (ROLE.format("backend-of-acme-2"), Caller("backend-of-acme-2")),
        (ROLE.format("backend-of-acm"), Caller("backend-of-acm")),
        (ROLE.format("x-backend-of-acme"), Caller("x-backend-of-acme")),
        (ROLE.format("a=b,c"), Caller("a=b,c")),
        (ROLE.format("AWSReservedSSO_Ops_0a1b2c"), Caller("AWSReservedSSO_Ops_0a1b2c")),
        (USER.format("ops/ada"), Caller("ada")),
    ],
)
def test_a_role_is_known_by_its_whole_name(arn: str, expected: Caller) -> None:
    assert caller_of(arn, TENANTS) == expected


@pytest.mark.parametrize(
    "arn",
    [
        "",
        "ops",
        "arn:aws:iam::123456789012:root",
        "arn:aws:iam::123456789012:role/ops",
        "arn:aws:sts::123456789012:federated-user/ada",
        "arn:aws:sts::123456789012:assumed-role/ops",
        "arn:aws:sts::123456789012:assumed-role/ops/",
        "arn:aws:sts::123456789012:assumed-role//session",
        # A path before or after: it could be read as two names.
        "arn:aws:sts::123456789012:assumed-role/ops/other/session",
        "arn:aws:sts::123456789012:assumed-role/other/ops/session",
        "arn:aws:sts::12:assumed-role/ops/session",
        "arn:aws:sts::123456789012:assumed-role/ops/session\n",
        "arn:evil:sts::123456789012:assumed-role/ops/session",
        "x arn:aws:sts::123456789012:assumed-role/ops/session",
        ROLE.format("OPS"),
        ROLE.format("Backend-of-Acme"),
        ROLE.format("BACKEND_OF.B+X@Y"),
        USER.format("Ops"),
        ROLE.format("\u043eps"),  # a Cyrillic o
        ROLE.format("ops\u200b"),
        ROLE.format("ops\x00"),
        ROLE.format("\uff4f\uff50\uff53"),  # full width
        ROLE.format("op\u017f"),  # a long s, which is an s in upper case
        ROLE.format("ops%20"),
        ROLE.format(" ops"),
    ],
)
def test_who_cannot_be_placed_is_nobody(arn: str) -> None:
    assert caller_of(arn, TENANTS) is None


@given(st.text(max_size=70))
def test_only_the_very_name_is_mapped(name: str) -> None:
    caller = caller_of(ROLE.format(name), TENANTS)

    assert caller is None or caller == Caller(name, TENANTS.get(name))


@given(st.sampled_from(sorted(TENANTS)), st.data())
def test_no_look_alike_of_a_mapped_name_goes_free(name: str, data: st.DataObject) -> None:
    """What folds, case-folds or normalises to a mapped name is that name or nobody."""
    upper = data.draw(st.lists(st.booleans(), min_size=len(name), max_size=len(name)))
    spelled = "".join(c.upper() if up else c for c, up in zip(name, upper, strict=True))
    wide = data.draw(st.integers(min_value=0, max_value=len(name)))
    letter = spelled[wide : wide + 1]
    if letter:
        spelled = spelled[:wide] + chr(ord(letter) + 0xFEE0) + spelled[wide + 1 :]
    assume(unicodedata.normalize("NFKC", spelled).casefold() == name.casefold())
    assume(spelled != name)

    assert caller_of(ROLE.format(spelled), TENANTS) is None


@pytest.mark.parametrize(
    ("arn", "principal"),
    [
        (ROLE.format("example-backend"), "example-backend"),
        (USER.format("ada"), "ada"),
        (USER.format("team/ada"), "ada"),
        ("arn:aws:iam::123456789012:role/path/backend", "backend"),
        ("arn:aws:iam::123456789012:root", "arn:aws:iam::123456789012:root"),
        ("arn:aws-cn:sts::1:assumed-role/backend/session/with/slashes", "backend"),
    ],
)
def test_where_nobody_is_mapped_every_principal_may_call(arn: str, principal: str) -> None:
    assert principal_of(arn) == principal
    assert caller_of(arn, {}) == Caller(principal)


# -- what it may touch --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tenant", "registration", "may"),
    [
        ("acme", "default", True),
        ("acme", "second", True),
        ("other", "default", False),
        (None, "default", False),
        ("", "default", False),
        ("ACME", "default", False),
        ("acme ", "default", False),
        ("\u0430cme", "default", False),
    ],
)
def test_a_mapped_caller_touches_its_tenant_alone(
    tenant: str | None, registration: str, may: bool
) -> None:
    caller = Caller("backend-of-acme", Tenant("acme"))

    assert caller.may_touch(tenant, registration) is may
    assert Caller("unmapped").may_touch(tenant, registration)
    if not may:
        with pytest.raises(NotFound):
            caller.must_reach(tenant, registration)


def test_named_registrations_are_all_that_there_are() -> None:
    caller = Caller("backend-of-b", Tenant("b", ("second", "third")))

    assert caller.registrations_of(("default", "second", "third")) == ("second", "third")
    assert caller.may_touch("b", "second")
    assert not caller.may_touch("b", "default")
    assert Caller("unmapped").registrations_of(("default", "second")) == ("default", "second")


@pytest.mark.parametrize("asked", [None, "acme", "other", ""])
def test_what_a_mapped_caller_says_of_its_tenant_does_not_count(asked: str | None) -> None:
    assert Caller("backend-of-acme", Tenant("acme")).tenant_of(asked) == "acme"
    assert Caller("unmapped").tenant_of(asked) == asked
