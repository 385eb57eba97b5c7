"""What template.yaml says about the functions, for processes that cannot read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.renewal.tiktok import CLIENT_KEY, CLIENT_SECRET
from local.deploy import read_template
from local.sam_env import Stack, made_up_stack, variables_of

ROOT = Path(__file__).resolve().parents[2]
BATCH = 10
"""Messages in one invocation, as the queue's mapping says."""


@dataclass(frozen=True, slots=True)
class Setting:
    """The refresh function's variables, the other functions', and what they name."""

    variables: Mapping[str, str]
    functions: Mapping[str, Mapping[str, str]]
    """Variables by the name of the function's folder."""
    accounts_table: str
    table: Mapping[str, Any]
    tables: Mapping[str, Mapping[str, Any]]
    """Both tables' properties by their names."""
    secrets: Mapping[str, str]

    @classmethod
    def read(cls, tiktok_url: str = "https://open.tiktokapis.com") -> Setting:
        """Resolve the template as CloudFormation would, with made-up resources."""
        template = read_template(ROOT / "template.yaml")
        made_up = made_up_stack(template, base_url="https://link.example.com")
        parameters = dict(made_up.parameters) | {
            "AppRegistrations": f"default={CLIENT_KEY}",
            "ReturnOrigins": "https://app.example.com",
        }
        variables = variables_of(template, Stack(parameters, made_up.physical_ids))
        mapping = template["Resources"]["RenewalQueueMapping"]["Properties"]
        if mapping["BatchSize"] != BATCH:
            raise AssertionError("the template's batch size is another one")
        shared = {
            "AWS_DEFAULT_REGION": made_up.region,
            "AWS_ACCESS_KEY_ID": "AKIAEXAMPLEEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "example",
        }
        functions = {
            name.removesuffix("Function").lower(): given
            | shared
            | ({"TIKTOK_API_BASE_URL": tiktok_url} if "TIKTOK_API_BASE_URL" in given else {})
            for name, given in variables.items()
        }
        own = functions["refresh"]
        tables = {
            made_up.physical_ids[name]: resource["Properties"]
            for name, resource in template["Resources"].items()
            if resource["Type"] == "AWS::DynamoDB::Table"
        }
        return cls(
            variables=own,
            functions=functions,
            accounts_table=own["ACCOUNTS_TABLE"],
            table=tables[own["ACCOUNTS_TABLE"]],
            tables=tables,
            secrets={own["APP_SECRET_ARN"]: json.dumps({"default": {"current": CLIENT_SECRET}})},
        )
