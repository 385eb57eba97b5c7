"""What template.yaml says about the refresh function, for processes that cannot read it."""

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
    """The function's variables and what they name."""

    variables: Mapping[str, str]
    accounts_table: str
    table: Mapping[str, Any]
    secrets: Mapping[str, str]

    @classmethod
    def read(cls, tiktok_url: str = "https://open.tiktokapis.com") -> Setting:
        """Resolve the template as CloudFormation would, with made-up resources."""
        template = read_template(ROOT / "template.yaml")
        made_up = made_up_stack(template, base_url="https://link.example.com")
        parameters = dict(made_up.parameters) | {"AppRegistrations": f"default={CLIENT_KEY}"}
        variables = variables_of(template, Stack(parameters, made_up.physical_ids))
        mapping = template["Resources"]["RenewalQueueMapping"]["Properties"]
        if mapping["BatchSize"] != BATCH:
            raise AssertionError("the template's batch size is another one")
        own = variables["RefreshFunction"] | {
            "TIKTOK_API_BASE_URL": tiktok_url,
            "AWS_DEFAULT_REGION": made_up.region,
            "AWS_ACCESS_KEY_ID": "AKIAEXAMPLEEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "example",
        }
        return cls(
            variables=own,
            accounts_table=own["ACCOUNTS_TABLE"],
            table=template["Resources"]["AccountsTable"]["Properties"],
            secrets={own["APP_SECRET_ARN"]: json.dumps({"default": {"current": CLIENT_SECRET}})},
        )
