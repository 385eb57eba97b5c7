"""Reads the policies of the translated template."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

Statement = dict[str, Any]
Template = Mapping[str, Any]


class Power(NamedTuple):
    """One action on one resource, and the statement of a role that grants it."""

    role: str
    """`refresh`: a function's; `refresh plan`: that of the schedule which calls it."""
    statement: str
    """Its Sid; SAM's own statements have none and are called by their policy's name."""
    action: str
    resource: str

    def __str__(self) -> str:
        return f"{self.role}: {self.statement}: {self.action} on {self.resource}"


def roles(plain: Template) -> dict[str, dict[str, Any]]:
    """Each role's properties. `RefreshFunctionPlanRole` is called `refresh plan`."""
    return {
        name.removesuffix("Role").replace("Function", " ").strip().lower(): resource["Properties"]
        for name, resource in plain["Resources"].items()
        if resource["Type"] == "AWS::IAM::Role"
    }


def granted(statement: Statement) -> Statement:
    """The statement itself; where a parameter decides, what it grants."""
    found: Statement = statement["Fn::If"][1] if "Fn::If" in statement else statement
    return found


def statements(role: Mapping[str, Any]) -> dict[str, Statement]:
    """A role's statements by name."""
    named = [
        (statement.get("Sid", policy["PolicyName"]), statement)
        for policy in role["Policies"]
        for statement in map(granted, listed(policy["PolicyDocument"]["Statement"]))
    ]
    assert len(dict(named)) == len(named), "two statements of one name"
    return dict(named)


def powers(plain: Template) -> Iterator[Power]:
    """Every power of every role."""
    for role, properties in roles(plain).items():
        for name, statement in statements(properties).items():
            for action in listed(statement["Action"]):
                for resource in listed(statement["Resource"]):
                    yield Power(role, name, action, resource_name(resource))


# The sealing key is the stack's own or a given one; a second stands beside it while keys change.
SEALING_KEYS = (
    {
        "Fn::If": [
            "HasSealingKeyArn",
            {"Ref": "SealingKeyArn"},
            {"Fn::GetAtt": ["SealingKey", "Arn"]},
        ]
    },
    {"Fn::If": ["HasOtherSealingKeyArn", {"Ref": "OtherSealingKeyArn"}, {"Ref": "AWS::NoValue"}]},
)


def resource_name(resource: Mapping[str, Any]) -> str:
    """`!GetAtt AccountsTable.Arn`, `!Sub ${AccountsTable.Arn}/index/due` and `!Ref AppSecret`."""
    if resource in SEALING_KEYS:
        return "SealingKey"
    ((function, argument),) = resource.items()
    if function == "Fn::GetAtt":
        assert argument[1] in ("Arn", "StreamArn", "Id"), argument  # Id: the secret's, locally
        return f"{argument[0]}/stream" if argument[1] == "StreamArn" else str(argument[0])
    return str(argument).replace("${AccountsTable.Arn}", "AccountsTable")


def listed(value: Any) -> list[Any]:
    """What IAM lets stand alone or in a list."""
    return value if isinstance(value, list) else [value]
