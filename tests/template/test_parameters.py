"""What a deployer is asked, and which answers are refused before anything is created."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from local.configuration import CALLER_TENANTS_FORM
from tiktok_linking.brand import COLOR, LOGO, MOST_LOGO_CHARACTERS, is_color, is_logo
from tiktok_linking.callers import NO_TENANTS, read_caller_tenants
from tiktok_linking.oauth import is_scope
from tiktok_linking.return_urls import is_origin
from tiktok_linking.settings import NEEDS, Settings

# (parameter, accepted, refused)
ANSWERS = [
    (
        "AccentColor",
        ["", "#0b5fff", "#FFFFFF"],
        ["0b5fff", "#fff", "red", "#0b5fff;", "#0b5fff #0b5fff", "rgb(0,0,0)"],
    ),
    (
        "AppLogo",
        [
            "",
            "data:image/svg+xml;base64,PHN2Zy8+",
            "data:image/png;base64,AA==",
            "data:image/webp;base64," + "A" * 2000,
        ],
        [
            "https://example.com/logo.svg",
            "data:image/svg+xml,<svg/>",
            "data:image/png;base64,",
            'data:image/png;base64,AA" onerror="x',
            "data:text/html;base64,AAAA",
        ],
    ),
    (
        "AppRegistrations",
        ["default=aw12", "default=aw1234567890abcd,sandbox=sbaw1234567890ab"],
        ["", "aw12", "default=", "sandbox=aw12", "default=aw12, other=aw13", "default=aw12,X=aw13"],
    ),
    (
        "ScopesRequired",
        ["user.info.basic", "user.info.basic,video.list"],
        ["", "user", "user.info.basic, video.list", "user.info.basic,"],
    ),
    ("ScopesOptional", ["", "video.list"], ["video.list,", "Video.List"]),
    (
        "ReturnOrigins",
        [
            "",
            "https://app.example.com",
            "https://a.example,https://b.example:8443",
            "http://localhost:3002,https://192.0.2.1,http://127.0.0.1,https://a.example:65535",
            "https://a.example:4430,https://b.example:80",
        ],
        [
            *("https://app.example.com/", "http://app.example.com", "https://App.example.com", "*"),
            *("https://a.example:443", "https://a.example:443,https://b.example", "https://127.1"),
            *("http://localhost:80", "https://a.example:65536", "https://a.example:08443"),
            *(
                "https://a..example",
                "https://a.example,",
                ",https://a.example",
                "https://a.example.",
            ),
        ],
    ),
    (
        "CallerTenants",
        [
            "",
            "backend=acme",
            "a=acme,b=acme",
            "Team_1.b+x@y=org/3:default,b=c~1:second+third-app",
        ],
        [
            "none",
            "backend",
            "backend=",
            "=acme",
            "a=b,",
            "a=b, c=d",
            "a=b:",
            "a=b:Second",
            "a=b:second+",
            "a=b=c",
            "path/a=b",
            "*=acme",
            "r\u043ele=acme",
            "a=\u0430cme",
        ],
    ),
    ("CustomDomainName", ["", "link.example.com"], ["https://link.example.com", "link", "a..b"]),
    (
        "CertificateArn",
        ["", "arn:aws:acm:eu-west-1:123456789012:certificate/0a1b"],
        ["arn:aws:iam::123456789012:server-certificate/x"],
    ),
    ("HostedZoneId", ["", "Z0123456789ABCDEFGHIJ"], ["example.com", "/hostedzone/Z1"]),
    ("PublicBaseUrl", ["", "https://link.example.com"], ["https://a.example/", "http://a.example"]),
    (
        "VerificationFiles",
        ["", "tiktokAb1.txt=tiktok-developers-site-verification=Ab1", "a.txt=1,b.txt=2"],
        ["a.txt", "a.txt=", "=1", "../a=1", "a/b=1", "a.txt=1,", "a.txt=<script>", ".env=1"],
    ),
    (
        "RefreshSchedule",
        ["rate(2 minutes)", "rate(5 minutes)", "rate(59 minutes)", "rate(1 hour)"],
        ["rate(1 minutes)", "rate(1 minute)", "rate(5 minute)", "rate(60 minutes)", "5 minutes"],
    ),
    *(
        (
            name,
            ["", "arn:aws:kms:eu-west-1:123456789012:key/0a1b2c3d-0a1b"],
            ["alias/sealing", "arn:aws:kms:eu-west-1:123456789012:alias/sealing", "0a1b2c3d"],
        )
        for name in ("SealingKeyArn", "OtherSealingKeyArn")
    ),
    (
        "PermissionsBoundaryArn",
        ["", "arn:aws:iam::123456789012:policy/team/boundary"],
        ["arn:aws:iam::123456789012:role/boundary"],
    ),
]


@pytest.mark.parametrize(("name", "accepted", "refused"), ANSWERS)
def test_a_parameter_takes_good_answers_and_refuses_bad_ones(
    template: dict[str, Any], name: str, accepted: list[str], refused: list[str]
) -> None:
    pattern = template["Parameters"][name]["AllowedPattern"]

    assert [answer for answer in accepted if not re.fullmatch(pattern, answer)] == []
    assert [answer for answer in refused if re.fullmatch(pattern, answer)] == []


def test_the_code_accepts_what_the_template_accepts() -> None:
    """An answer that deploys and then fails in every function would be worse than none."""
    accepted = {name: answers for name, answers, _ in ANSWERS}

    for answer in accepted["ReturnOrigins"]:
        assert all(is_origin(origin) for origin in answer.split(",") if origin)
    for answer in accepted["VerificationFiles"]:
        given = {
            "POWERTOOLS_SERVICE_NAME": "webhook",
            **dict.fromkeys(NEEDS["webhook"], "default=aw12"),
            "VERIFICATION_FILES": answer,
        }
        assert len(Settings.from_env(given).verification_files) == len(answer.split(",")) - (
            not answer
        )
    assert all(is_color(answer) for answer in accepted["AccentColor"] if answer)
    assert all(is_logo(answer) for answer in accepted["AppLogo"] if answer)
    for answer in filter(None, accepted["CallerTenants"]):
        assert len(read_caller_tenants(answer)) == len(answer.split(","))
    for answer in accepted["ScopesRequired"] + accepted["ScopesOptional"]:
        assert all(is_scope(scope) for scope in answer.split(",") if scope)


def test_a_logo_fits_where_it_is_kept(template: dict[str, Any], functions: dict[str, Any]) -> None:
    """Lambda keeps 4 KB of variables for a function; half of it is for what else authorize has."""
    longest = template["Parameters"]["AppLogo"]["MaxLength"]
    given = {
        name
        for name, properties in functions.items()
        if "APP_LOGO" in properties["Environment"]["Variables"]
    }

    assert longest == MOST_LOGO_CHARACTERS == 2048
    for parameter, form in (("AccentColor", COLOR), ("AppLogo", LOGO)):
        assert template["Parameters"][parameter]["AllowedPattern"] == f"({form})?"
    assert given == {"authorize"}


def test_what_deploys_as_a_map_of_callers_is_read_by_code_and_local_world_alike(
    template: dict[str, Any],
) -> None:
    """The pattern is the last word before a deployment; the code refuses what gets past it."""
    pattern = template["Parameters"]["CallerTenants"]["AllowedPattern"]

    assert CALLER_TENANTS_FORM.pattern == pattern
    for refused in next(refused for name, _, refused in ANSWERS if name == "CallerTenants"):
        if refused != NO_TENANTS:
            with pytest.raises(ValueError, match=r"."):
                read_caller_tenants(refused)


def test_every_function_with_signed_routes_is_told_who_is_mapped(
    template: dict[str, Any], functions: dict[str, Any]
) -> None:
    signed = {
        name
        for name, properties in functions.items()
        for event in properties.get("Events", {}).values()
        if event["Type"] == "HttpApi" and event["Properties"]["Path"].startswith("/v1/")
    }

    told = {
        name: properties["Environment"]["Variables"]["CALLER_TENANTS"]
        for name, properties in functions.items()
        if "CALLER_TENANTS" in properties["Environment"]["Variables"]
    }

    given = {"Fn::If": ["HasCallerTenants", {"Ref": "CallerTenants"}, NO_TENANTS]}
    assert told == dict.fromkeys(signed, given)
    assert all("CALLER_TENANTS" in NEEDS[name] for name in signed)
    assert template["Conditions"]["HasCallerTenants"] == {
        "Fn::Not": [{"Fn::Equals": [{"Ref": "CallerTenants"}, ""]}]
    }


def test_every_parameter_explains_itself(template: dict[str, Any]) -> None:
    for name, parameter in template["Parameters"].items():
        assert parameter["Description"].endswith("."), name
        assert parameter["ConstraintDescription"].endswith("."), name
        assert parameter.keys() & {"AllowedPattern", "AllowedValues", "MinValue"}, name


def test_every_parameter_is_asked_for_in_a_group_under_a_label(template: dict[str, Any]) -> None:
    interface = template["Metadata"]["AWS::CloudFormation::Interface"]
    grouped = [name for group in interface["ParameterGroups"] for name in group["Parameters"]]

    assert sorted(grouped) == sorted(template["Parameters"])
    assert set(interface["ParameterLabels"]) == set(template["Parameters"])


def test_every_parameter_is_read(template: dict[str, Any]) -> None:
    text = json.dumps({k: template[k] for k in ("Globals", "Resources", "Conditions")})
    unread = [
        name
        for name in template["Parameters"]
        if f'{{"Ref": "{name}"}}' not in text and f"${{{name}}}" not in text
    ]

    assert unread == []


def test_defaults_ask_for_the_least(template: dict[str, Any]) -> None:
    parameters = template["Parameters"]

    assert parameters["ScopesRequired"]["Default"] == "user.info.basic"
    assert parameters["ScopesOptional"]["Default"] == ""
    assert {n for n, p in parameters.items() if "Default" not in p} == {
        "AppName",
        "AppRegistrations",
    }


def test_answers_that_do_not_go_together_are_refused(template: dict[str, Any]) -> None:
    said = {
        assertion["AssertDescription"]
        for rule in template["Rules"].values()
        for assertion in rule["Assertions"]
    }

    assert said == {
        "Completion app needs ReturnOrigins, since the browser brings the completion code there.",
        "ReminderLinks needs Completion browser, since a link that your app completes begins in"
        " your app.",
        "CustomDomainName needs CertificateArn.",
        "Give CustomDomainName or PublicBaseUrl, not both.",
        "CertificateArn is for CustomDomainName, which is empty.",
        "HostedZoneId is for CustomDomainName, which is empty.",
    }
