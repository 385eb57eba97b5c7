"""The roles of a running world, as MiniStack enforces them, and one power taken from one."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

from local.aws import LocalAws
from local.deploy import STACK_NAME, TWINS
from local.testing import WorldHandle
from tests.template.policies import Power, listed

Document = dict[str, Any]


class DeployedRoles:
    """Reads and changes the inline policies that a world was deployed with."""

    def __init__(self, world: WorldHandle) -> None:
        aws = self._root = LocalAws(world.endpoints["aws"])
        self._iam = aws.client("iam")
        found = aws.client("cloudformation").describe_stack_resources(StackName=STACK_NAME)
        self._physical = {
            item["LogicalResourceId"]: item["PhysicalResourceId"]
            for item in found["StackResources"]
        }

    def aws_of(self, role: str) -> LocalAws:
        """The services as a function's role sees them."""
        arn = self._iam.get_role(RoleName=self._physical[f"{role.capitalize()}FunctionRole"])
        session = self._root.client("sts").assume_role(
            RoleArn=arn["Role"]["Arn"], RoleSessionName="test"
        )["Credentials"]
        return LocalAws(
            self._root.endpoint,
            key=session["AccessKeyId"],
            secret=session["SecretAccessKey"],
            token=session["SessionToken"],
        )

    def physical_id(self, logical_id: str) -> str:
        return str(self._physical[logical_id])

    def policies(self, logical_id: str) -> dict[str, Document]:
        """The policies of a role, by name."""
        role = self._physical[logical_id]
        names = self._iam.list_role_policies(RoleName=role)["PolicyNames"]
        return {
            name: self._iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
            for name in names
        }

    def name_of(self, arn: str) -> str:
        """What the template calls a resource: `AccountsTable/index/due`."""
        index = re.search(r"/index/\w+$|/stream/[^/]+$", arn)
        own = arn.removesuffix(index[0]) if index else arn
        (name,) = [
            logical_id
            for logical_id, physical_id in self._physical.items()
            # A secret's ARN has six characters of its own at the end.
            if re.search(rf"[:/]{re.escape(re.split('[:/]', physical_id)[-1])}(-\w{{6}})?$", own)
        ]
        if index and index[0].startswith("/stream/"):
            return f"{name}/stream"
        return f"{name}{index[0] if index else ''}"

    @contextlib.contextmanager
    def without(self, power: Power) -> Iterator[None]:
        """Take one power from a function's role, and give it back at the end."""
        logical_id = f"{power.role.capitalize()}FunctionRole"
        before = self.policies(logical_id)
        taken = 0
        try:
            for name, document in before.items():
                kept, lost = self._split(document, power)
                taken += lost
                if lost:
                    self._put(logical_id, name, {**document, "Statement": kept})
            assert taken == len(_rights(power)), f"{power} is not deployed"
            yield
        finally:
            for name, document in before.items():
                self._put(logical_id, name, document)

    def _split(self, document: Document, power: Power) -> tuple[list[Document], int]:
        """One statement for each power of a policy but the one, and how often that was there."""
        kept: list[Document] = []
        lost = 0
        for statement in document["Statement"]:
            is_its_own = statement.get("Sid", "").rstrip("0123456789") == power.statement
            for action in listed(statement["Action"]):
                for arn in listed(statement["Resource"]):
                    if (
                        is_its_own
                        and action in _rights(power)
                        and self.name_of(arn) == power.resource
                    ):
                        lost += 1
                    else:
                        alone = {"Sid": f"Kept{len(kept)}", "Action": action, "Resource": arn}
                        kept.append({**statement, **alone})
        return kept, lost

    def _put(self, logical_id: str, name: str, document: Document) -> None:
        self._iam.put_role_policy(
            RoleName=self._physical[logical_id],
            PolicyName=name,
            PolicyDocument=json.dumps(document),
        )


def _rights(power: Power) -> set[str]:
    """What MiniStack asks for where AWS asks for this power."""
    return {power.action, *([TWINS[power.action]] if power.action in TWINS else [])}
