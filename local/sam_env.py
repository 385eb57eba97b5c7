"""Makes the variables of `sam local` from template.yaml: `python -m local.sam_env > env.json`.

`sam local` gives a function the variables that the template declares, but it cannot know what a
`!Ref` of a table or a queue is: it passes the logical id on. This resolves each variable as
CloudFormation would, with made-up resources, or with those of a deployed stack:

    python -m local.sam_env --stack tiktok-linking-staging > env.json
"""

import argparse
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.deploy import Template, read_template

ROOT = Path(__file__).resolve().parent.parent

_MADE_UP_PARAMETERS = {
    "AppName": "Acme",
    "AppRegistrations": "default=awlocaldefault",
}


@dataclass(frozen=True, slots=True)
class Stack:
    """What a template's references stand for."""

    parameters: Mapping[str, str]
    physical_ids: Mapping[str, str]  # by logical id, as CloudFormation tells them
    region: str = "us-east-1"
    account_id: str = "123456789012"
    name: str = "made-up"


def made_up_stack(template: Template, *, base_url: str) -> Stack:
    """A stack that exists nowhere: enough for what a handler does before it asks AWS."""
    parameters = {
        name: str(parameter["Default"])
        for name, parameter in template["Parameters"].items()
        if "Default" in parameter
    }
    urls = {"AWS::SQS::Queue": "https://sqs.us-east-1.amazonaws.com/123456789012/{}"}
    arns = {
        "AWS::SecretsManager::Secret": "arn:aws:secretsmanager:us-east-1:123456789012:secret:{}",
        "AWS::KMS::Key": "00000000-0000-0000-0000-000000000000",
    }
    physical_ids = {
        name: (urls | arns).get(resource["Type"], "{}").format(name)
        for name, resource in template["Resources"].items()
    }
    return Stack(parameters | _MADE_UP_PARAMETERS | {"PublicBaseUrl": base_url}, physical_ids)


def deployed_stack(name: str, *, base_url: str) -> Stack:
    """A stack in AWS, by the credentials and the region of the environment."""
    # Imported here, since a made-up stack needs no AWS.
    import boto3

    cloudformation = boto3.client("cloudformation")
    (stack,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
    resources = cloudformation.describe_stack_resources(StackName=name)["StackResources"]
    _, _, _, region, account_id, _ = stack["StackId"].split(":", 5)
    parameters = {item["ParameterKey"]: item["ParameterValue"] for item in stack["Parameters"]}
    return Stack(
        # Redirects must lead back to this machine, not to the stack.
        parameters | {"PublicBaseUrl": base_url},
        {item["LogicalResourceId"]: item["PhysicalResourceId"] for item in resources},
        region,
        account_id,
        name,
    )


def variables_of(template: Template, stack: Stack) -> dict[str, dict[str, str]]:
    """Each function's variables, by its logical id: the file that `--env-vars` takes."""
    resolve = _Resolver(template, stack)
    shared = template["Globals"]["Function"]["Environment"]["Variables"]
    return {
        name: {
            key: resolve(value)
            for key, value in (shared | resource["Properties"]["Environment"]["Variables"]).items()
        }
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }


class _Resolver:
    """The few intrinsic functions that variables are written with."""

    def __init__(self, template: Template, stack: Stack) -> None:
        self._template = template
        self._stack = stack

    def __call__(self, value: Any) -> str:
        if not isinstance(value, dict):
            return str(value)
        ((function, argument),) = value.items()
        if function == "Ref":
            return self._reference(argument)
        if function == "Fn::GetAtt":
            return self._attribute(*argument)
        if function == "Fn::Sub" and isinstance(argument, str):
            return re.sub(r"\$\{([\w:]+)\}", lambda found: self._reference(found[1]), argument)
        if function == "Fn::If":
            condition, then, otherwise = argument
            return self(then if self._holds({"Condition": condition}) else otherwise)
        raise NotImplementedError(f"variables are not written with {function}")

    def _reference(self, name: str) -> str:
        if name == "AWS::StackName":
            return self._stack.name
        if name in self._stack.parameters:
            return self._stack.parameters[name]
        return self._stack.physical_ids[name]

    def _attribute(self, name: str, attribute: str) -> str:
        kind = self._template["Resources"][name]["Type"]
        if (kind, attribute) != ("AWS::KMS::Key", "Arn"):
            raise NotImplementedError(f"variables do not name {attribute} of {kind}")
        stack = self._stack
        key = stack.physical_ids[name]
        return f"arn:aws:kms:{stack.region}:{stack.account_id}:key/{key}"

    def _holds(self, condition: Any) -> bool:
        ((function, argument),) = condition.items()
        if function == "Condition":
            return self._holds(self._template["Conditions"][argument])
        if function == "Fn::Not":
            return not self._holds(argument[0])
        if function == "Fn::Equals":
            left, right = argument
            return self(left) == self(right)
        raise NotImplementedError(f"conditions are not written with {function}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m local.sam_env", description=__doc__)
    parser.add_argument("--stack", help="name of a deployed stack whose resources to use")
    parser.add_argument("--base-url", default="http://127.0.0.1:3000")
    arguments = parser.parse_args()
    template = read_template(ROOT / "template.yaml")
    base_url = arguments.base_url
    stack = (
        deployed_stack(arguments.stack, base_url=base_url)
        if arguments.stack
        else made_up_stack(template, base_url=base_url)
    )
    json.dump(variables_of(template, stack), sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
