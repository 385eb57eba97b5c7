"""The rule for what linters find: each finding has its reason, and each reason its finding.

The tools themselves run in `make check`; what they find in rules.yaml's snippets is judged there.
"""

from __future__ import annotations

from typing import Any

import yaml

from tests.lint.findings import (
    HERE,
    SNIPPETS,
    Accepted,
    Finding,
    expected_in,
    identity_policies,
    judged,
    read_accepted,
)

REASON = "the functions reach nothing that is private"
VPC = Finding("checkov", "CKV_AWS_117", "TokensFunction")
ACCEPTED_VPC = Accepted("checkov", "CKV_AWS_117", ("*Function",), REASON)


def test_a_finding_with_a_reason_passes() -> None:
    assert judged([VPC], [ACCEPTED_VPC]) == []


def test_a_finding_without_a_reason_fails() -> None:
    elsewhere = Finding("checkov", "CKV_AWS_117", "TokensLogs")
    other = Finding("checkov", "CKV_AWS_116", "TokensFunction")

    assert judged([VPC, elsewhere, other], [ACCEPTED_VPC]) == [str(other), str(elsewhere)]


def test_a_reason_that_is_none_fails() -> None:
    for because in ("", "false positive"):
        (problem,) = judged([VPC], [Accepted("checkov", "CKV_AWS_117", ("*",), because)])
        assert "no reason" in problem


def test_a_reason_for_what_is_found_no_more_fails() -> None:
    (problem,) = judged([], [ACCEPTED_VPC])
    assert "found no more" in problem

    stale = Accepted("checkov", "CKV_AWS_117", ("*Function", "Gone*"), REASON)
    (problem,) = judged([VPC], [stale])
    assert "Gone*" in problem


def test_a_new_secret_in_a_file_with_accepted_ones_fails() -> None:
    known = Finding("detect-secrets", "AWS Access Key", "events/a.json", "4283ebd4fe")
    new = Finding("detect-secrets", "AWS Access Key", "events/a.json", "0123456789")
    entry = Accepted("detect-secrets", "AWS Access Key", ("events/*",), REASON, ("4283ebd4fe",))

    assert judged([known], [entry]) == []
    assert judged([known, new], [entry]) == [str(new)]


def test_every_accepted_finding_has_its_reason() -> None:
    entries = read_accepted()

    assert entries
    assert [problem for problem in judged([], entries) if "no reason" in problem] == []
    assert {entry.tool for entry in entries} <= {"checkov", "detect-secrets", "parliament"}


def test_every_rule_has_a_line_that_it_must_find() -> None:
    rules = {rule["id"] for rule in yaml.safe_load((HERE / "rules.yaml").read_text())["rules"]}

    assert {rule for rule, _ in expected_in(SNIPPETS.read_text(encoding="utf-8"))} == rules


def test_the_policies_are_all_looked_at(plain: dict[str, Any]) -> None:
    """And with every name filled in, or parliament would read them as nothing in particular."""
    policies = dict(identity_policies(plain["Resources"]))

    roles = {name for name, one in plain["Resources"].items() if one["Type"] == "AWS::IAM::Role"}
    of_roles = {name for name in roles if plain["Resources"][name]["Properties"].get("Policies")}
    assert {name.partition("-")[0] for name in policies} == of_roles | {"BackendPolicy"}
    assert "Fn::" not in str(policies)
    assert "${" not in str(policies)
