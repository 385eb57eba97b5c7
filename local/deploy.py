"""Deploys template.yaml into MiniStack, and reads back what CloudFormation made of it.

SAM's own translator makes the plain template, as on AWS. Before it goes to MiniStack, exactly these
things are changed, because they would run twice or because MiniStack 1.5.33 cannot do them:

1.  The code of each function is a stub and its layers are left out: the code runs from the working
    tree in processes of its own (`functions`), with the variables that the stack resolved.
2.  Event source mappings and schedules are created switched off: `queues`, `streams` and
    `schedules` read them from the stack and do their work.
3.  The routes are read from the translated API definition (`gateway`), since MiniStack does not
    create routes from a `Body`. The API and its stage exist for what refers to them.
4.  A queue and a rule that copies every event of the bus into it are added, for `GET /events`.
5.  With AUTH=true, what MiniStack would deny for want of knowing better is taken out of policies:
    the conditions in `UNKNOWN_CONDITIONS`, and the queues' demand for TLS, which loopback does not
    have. `TWINS` of a right are added, which AWS does not have. Each role may also be assumed by
    the account. AUTH proves nothing of these; `tests/template` does. Nothing else of a policy
    differs, which `tests/local` and `tests/iam` hold.
6.  `!Ref` of a secret becomes `!GetAtt Secret.Id`, since MiniStack gives the name for it.
7.  Patterns of parameters are left out: they ask for https, and the local world is on loopback.
8.  The archive of the event bus is left out: MiniStack refuses it. So are alarms on an expression
    of several metrics.
"""

import copy
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

try:
    from yaml import CSafeLoader as FastSafeLoader
except ImportError:  # PyYAML was built without libyaml
    from yaml import SafeLoader as FastSafeLoader  # type: ignore[assignment]

from botocore.exceptions import BotoCoreError, ClientError, WaiterError

from local.aws import ACCOUNT_ID, REGION, LocalAws
from local.functions import FunctionSettings

STACK_NAME = "tiktok-link"
_BUCKET, _TEMPLATE_KEY = "local-deploy", "template.json"
_CAPTURE_QUEUE = "LocalEventsQueue"
_CAPTURE_RULE = "LocalEventsRule"
_STUB = "def lambda_handler(event, context):\n    raise RuntimeError('runs in its own process')\n"
_STACK_SECONDS = 60

UNKNOWN_CONDITIONS = (
    # MiniStack sees no request's encryption context, so it denies every request.
    ("kms:*", "kms:EncryptionContext:"),
    # It does not see that this request names attributes.
    ("dynamodb:BatchGetItem", "dynamodb:Select"),
)
"""Actions, and the beginning of the condition keys that MiniStack cannot evaluate for them."""

TWINS = {"sqs:SendMessage": "sqs:SendMessageBatch"}
"""Rights that MiniStack asks for where AWS is content with another."""

Template = dict[str, Any]


class DeploymentFailed(Exception):
    """The template could not be read or deployed; the text says what and where."""


@dataclass(frozen=True, slots=True)
class Route:
    """One route of the HTTP API."""

    method: str  # `GET`, or `ANY`
    path: str  # `/v1/accounts/{id}`
    function: str  # logical id
    needs_iam: bool

    @property
    def key(self) -> str:
        return f"{self.method} {self.path}" if self.path != "$default" else self.path


@dataclass(frozen=True, slots=True)
class QueueSource:
    """An SQS queue that feeds a function."""

    function: str  # logical id
    queue_arn: str
    queue_url: str
    batch_size: int
    batching_window_seconds: int
    maximum_concurrency: int | None
    reports_batch_item_failures: bool


@dataclass(frozen=True, slots=True)
class StreamSource:
    """A table's stream that feeds a function."""

    function: str  # logical id
    stream_arn: str
    batch_size: int
    needs_attribute: str | None
    """The one filter that templates of ours have: an attribute that the new item must carry."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule that calls a function."""

    name: str
    function: str  # logical id
    expression: str
    event: Any


@dataclass(frozen=True, slots=True)
class Deployment:
    """All that the rest of the world needs to know of the stack."""

    functions: Mapping[str, FunctionSettings]  # by logical id
    routes: Sequence[Route]
    stage_variables: Mapping[str, str]
    api_id: str
    queue_sources: Sequence[QueueSource]
    stream_sources: Sequence[StreamSource]
    schedules: Sequence[Schedule]
    capture_queue_url: str
    physical_ids: Mapping[str, str]
    parameters: frozenset[str]


# ---- the template ------------------------------------------------------------------------------


class _CloudFormationLoader(FastSafeLoader):
    """YAML with CloudFormation's short forms, and dates left as text (`Version: 2012-10-17`)."""


def _short_form(loader: _CloudFormationLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    elif isinstance(node, yaml.MappingNode):
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_CloudFormationLoader.add_multi_constructor("!", _short_form)
_CloudFormationLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if not tag.endswith(":timestamp")]
    for first, known in FastSafeLoader.yaml_implicit_resolvers.items()
}


def read_template(file: Path) -> Template:
    """The SAM template as plain dictionaries."""
    loader = _CloudFormationLoader(file.read_text(encoding="utf-8"))
    try:
        template: Template = loader.get_single_data()
    except yaml.YAMLError as error:
        raise DeploymentFailed(f"{file} is not valid YAML: {error}") from error
    finally:
        loader.dispose()
    return template


def function_name(logical_id: str) -> str:
    """`RefreshFunction` → `refresh`."""
    stem = logical_id.removesuffix("Function")
    return stem[:1].lower() + stem[1:]


def code_directories(template: Template, base: Path) -> dict[str, tuple[Path, ...]]:
    """Where the code of each function lies: its own folder first, then its layers."""
    resources = template["Resources"]
    shared = template.get("Globals", {}).get("Function", {})
    layers = {
        logical_id: base / resource["Properties"]["ContentUri"]
        for logical_id, resource in resources.items()
        if resource["Type"] == "AWS::Serverless::LayerVersion"
    }
    directories = {}
    for logical_id, resource in _of_type(template, "AWS::Serverless::Function"):
        properties = shared | resource["Properties"]
        used = [*shared.get("Layers", []), *resource["Properties"].get("Layers", [])]
        directories[logical_id] = (
            base / properties["CodeUri"],
            *(layers[layer["Ref"]] for layer in used if layer.get("Ref") in layers),
        )
    return directories


def translated(template: Template, parameters: Mapping[str, str]) -> Template:
    """The plain CloudFormation template, by SAM's own translator."""
    # Imported here: it takes a second, in which MiniStack starts.
    from samtranslator.model.exceptions import InvalidDocumentException
    from samtranslator.translator.transform import transform

    source = copy.deepcopy(template)
    source.get("Globals", {}).get("Function", {}).pop("CodeUri", None)
    for _, resource in _of_type(source, "AWS::Serverless::Function"):
        # A local path is for `sam build` to replace; the translator takes only what is uploaded.
        resource["Properties"].pop("CodeUri", None)
        resource["Properties"]["InlineCode"] = _STUB
    for _, resource in _of_type(source, "AWS::Serverless::LayerVersion"):
        resource["Properties"]["ContentUri"] = "s3://local/layer"
    os.environ.setdefault("AWS_DEFAULT_REGION", REGION)  # the translator asks boto3 for one
    try:
        plain: Template = transform(source, dict(parameters), _NoManagedPolicies())
    except InvalidDocumentException as error:
        causes = "\n".join(f"  {cause.message}" for cause in error.causes)
        raise DeploymentFailed(f"SAM refuses the template:\n{causes}") from error
    return plain


class _NoManagedPolicies:
    """The translator's list of AWS's managed policies, which is needed for their names alone."""

    def load(self) -> dict[str, str]:
        return {}


def with_local_changes(plain: Template, *, auth: bool) -> Template:
    """The template that MiniStack gets; the list is at the top of this module."""
    local = copy.deepcopy(plain)
    resources = local["Resources"]
    for _, function in _of_type(local, "AWS::Lambda::Function"):
        function["Properties"]["Code"] = {"ZipFile": _STUB}
        function["Properties"].pop("Layers", None)
    for logical_id, _ in list(_of_type(local, "AWS::Lambda::LayerVersion")):
        del resources[logical_id]
    for _, mapping in _of_type(local, "AWS::Lambda::EventSourceMapping"):
        mapping["Properties"]["Enabled"] = False
    for _, schedule in _of_type(local, "AWS::Scheduler::Schedule"):
        schedule["Properties"]["State"] = "DISABLED"
    for logical_id, _ in list(_of_type(local, "AWS::Events::Archive")):
        del resources[logical_id]
    for logical_id, alarm in list(_of_type(local, "AWS::CloudWatch::Alarm")):
        if "Metrics" in alarm["Properties"]:
            del resources[logical_id]
    for parameter in local.get("Parameters", {}).values():
        parameter.pop("AllowedPattern", None)
    if auth:
        for _, role in _of_type(local, "AWS::IAM::Role"):
            _open_to_the_emulator(role["Properties"])
        for logical_id, policy in list(_of_type(local, "AWS::SQS::QueuePolicy")):
            if "aws:SecureTransport" in json.dumps(policy):
                del resources[logical_id]
    _add_event_capture(resources)
    secrets = {name for name, _ in _of_type(local, "AWS::SecretsManager::Secret")}
    corrected: Template = _with_secret_arns(local, secrets)
    return corrected


def _with_secret_arns(part: Any, secrets: set[str]) -> Any:
    if isinstance(part, dict):
        if part.get("Ref") in secrets:
            return {"Fn::GetAtt": [part["Ref"], "Id"]}
        return {key: _with_secret_arns(value, secrets) for key, value in part.items()}
    if isinstance(part, list):
        return [_with_secret_arns(value, secrets) for value in part]
    return part


def _open_to_the_emulator(role: dict[str, Any]) -> None:
    role["AssumeRolePolicyDocument"]["Statement"].append(
        {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT_ID}:root"},
            "Action": "sts:AssumeRole",
        }
    )
    for policy in role.get("Policies", []):
        document = policy["PolicyDocument"]
        document["Statement"] = [
            weakened for statement in document["Statement"] for weakened in _evaluable(statement)
        ]


def _evaluable(statement: dict[str, Any]) -> list[dict[str, Any]]:
    """A statement of a function's policy as MiniStack can evaluate it.

    One statement for each set of conditions that its actions keep; those after the first have a
    number behind their Sid.
    """
    if "Fn::If" in statement:
        condition, granted, otherwise = statement["Fn::If"]
        return [{"Fn::If": [condition, one, otherwise]} for one in _evaluable(granted)]
    kept: list[tuple[dict[str, Any], list[str]]] = []
    actions = statement["Action"]
    listed = [actions] if isinstance(actions, str) else actions
    for action in listed:
        conditions = _evaluable_conditions(statement.get("Condition", {}), action)
        rights = [action, *([TWINS[action]] if action in TWINS else [])]
        same = next((group for known, group in kept if known == conditions), None)
        if same is None:
            kept.append((conditions, rights))
        else:
            same += rights
    if len(kept) == 1 and kept[0] == (statement.get("Condition", {}), listed):
        return [statement]
    rest = {key: value for key, value in statement.items() if key != "Condition"}
    return [
        rest
        | ({"Sid": f"{statement['Sid']}{number}"} if number > 1 and "Sid" in statement else {})
        | {"Action": rights}
        | ({"Condition": conditions} if conditions else {})
        for number, (conditions, rights) in enumerate(kept, 1)
    ]


def _evaluable_conditions(conditions: dict[str, Any], action: str) -> dict[str, Any]:
    """The conditions that MiniStack can evaluate for an action."""
    unknown = tuple(
        key.lower() for actions, key in UNKNOWN_CONDITIONS if fnmatchcase(action, actions)
    )
    return {
        operator: known
        for operator, tests in conditions.items()
        if (known := {k: v for k, v in tests.items() if not k.lower().startswith(unknown)})
    }


def _add_event_capture(resources: dict[str, Any]) -> None:
    resources[_CAPTURE_QUEUE] = {
        "Type": "AWS::SQS::Queue",
        "Properties": {"MessageRetentionPeriod": 1209600},
    }
    buses = [name for name, item in resources.items() if item["Type"] == "AWS::Events::EventBus"]
    for number, bus in enumerate(buses):
        resources[f"{_CAPTURE_RULE}{number or ''}"] = {
            "Type": "AWS::Events::Rule",
            "Properties": {
                "EventBusName": {"Ref": bus},
                "EventPattern": {"account": [{"Ref": "AWS::AccountId"}]},
                "Targets": [{"Id": "capture", "Arn": {"Fn::GetAtt": [_CAPTURE_QUEUE, "Arn"]}}],
            },
        }


def routes_of(plain: Template) -> list[Route]:
    """The routes in the API definitions of the translated template."""
    routes = []
    for _, api in _of_type(plain, "AWS::ApiGatewayV2::Api"):
        for path, methods in api["Properties"]["Body"]["paths"].items():
            for method, operation in methods.items():
                integration = operation.get("x-amazon-apigateway-integration")
                if integration is None:
                    continue  # `parameters` and the like stand beside the methods
                if integration.get("payloadFormatVersion") != "2.0":
                    raise DeploymentFailed(f"{method} {path}: the gateway speaks payload 2.0 only")
                routes.append(
                    Route(
                        method="ANY" if "any" in method else method.upper(),
                        path=path.removeprefix("/") if path == "/$default" else path,
                        function=_function_behind(integration["uri"]),
                        needs_iam=any("AWS_IAM" in item for item in operation.get("security", [])),
                    )
                )
    return routes


def _function_behind(uri: Any) -> str:
    found = re.search(r"functions/\$\{(\w+)\.Arn\}", uri["Fn::Sub"])
    if found is None:
        raise DeploymentFailed(f"no function in the integration {uri}")
    return found[1]


def _of_type(template: Template, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for logical_id, resource in template["Resources"].items():
        if resource["Type"] == kind:
            yield logical_id, resource


# ---- the stack ---------------------------------------------------------------------------------


def deploy(
    template: Template,
    plain: Template,
    *,
    base: Path,
    parameters: Mapping[str, str],
    aws: LocalAws,
    auth: bool,
) -> Deployment:
    """Create the stack and read back everything that CloudFormation resolved.

    Raises:
        DeploymentFailed: MiniStack refused the template or a resource of it.
    """
    known = frozenset(template.get("Parameters", {}))
    used = {key: value for key, value in parameters.items() if key in known}
    _create_stack(aws, with_local_changes(plain, auth=auth), used)
    try:
        return _read_back(aws, plain, code_directories(template, base), known)
    except (ClientError, BotoCoreError) as error:
        raise DeploymentFailed(f"the stack cannot be read: {error}") from error


def _read_back(
    aws: LocalAws,
    plain: Template,
    directories: Mapping[str, tuple[Path, ...]],
    parameters: frozenset[str],
) -> Deployment:
    described = aws.client("cloudformation").describe_stack_resources(StackName=STACK_NAME)
    physical_ids = {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"]
        for resource in described["StackResources"]
    }
    functions = _functions(aws, physical_ids, directories)
    by_arn = {settings.arn: settings.logical_id for settings in functions.values()}
    api_id = next((physical_ids[name] for name, _ in _of_type(plain, "AWS::ApiGatewayV2::Api")), "")
    return Deployment(
        functions=functions,
        routes=routes_of(plain),
        stage_variables=_stage_variables(aws, api_id) if api_id else {},
        api_id=api_id,
        queue_sources=_queue_sources(aws, by_arn),
        stream_sources=_stream_sources(aws, by_arn),
        schedules=[
            _schedule(aws, physical_ids[name], by_arn)
            for name, _ in _of_type(plain, "AWS::Scheduler::Schedule")
            if name in physical_ids  # not if its condition is false
        ],
        capture_queue_url=physical_ids[_CAPTURE_QUEUE],
        physical_ids=physical_ids,
        parameters=parameters,
    )


def _create_stack(aws: LocalAws, template: Template, parameters: Mapping[str, str]) -> None:
    cloudformation, s3 = aws.client("cloudformation"), aws.client("s3")
    try:
        # A template of more than 51,200 bytes is taken from S3 only, as on AWS.
        s3.create_bucket(Bucket=_BUCKET)
        s3.put_object(Bucket=_BUCKET, Key=_TEMPLATE_KEY, Body=json.dumps(template).encode())
        cloudformation.create_stack(
            StackName=STACK_NAME,
            TemplateURL=f"{aws.endpoint}/{_BUCKET}/{_TEMPLATE_KEY}",
            Parameters=[
                {"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()
            ],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        )
        cloudformation.get_waiter("stack_create_complete").wait(
            StackName=STACK_NAME,
            WaiterConfig={"Delay": 0.05, "MaxAttempts": _STACK_SECONDS * 20},
        )
    except ClientError as error:
        raise DeploymentFailed(f"MiniStack refuses the template: {error}") from error
    except WaiterError as error:
        events = cloudformation.describe_stack_events(StackName=STACK_NAME)["StackEvents"]
        failures = [
            f"  {event['LogicalResourceId']} ({event['ResourceType']}):"
            f" {event.get('ResourceStatusReason', '')}"
            for event in events
            if event["ResourceStatus"].endswith("FAILED")
        ]
        raise DeploymentFailed("\n".join(["the stack was not created:", *failures])) from error


def _functions(
    aws: LocalAws, physical_ids: Mapping[str, str], directories: Mapping[str, tuple[Path, ...]]
) -> dict[str, FunctionSettings]:
    pages = aws.client("lambda").get_paginator("list_functions").paginate()
    deployed = {item["FunctionName"]: item for page in pages for item in page["Functions"]}
    functions = {}
    for logical_id, code in directories.items():
        if logical_id not in physical_ids:
            continue
        item = deployed[physical_ids[logical_id]]
        functions[logical_id] = FunctionSettings(
            name=function_name(logical_id),
            logical_id=logical_id,
            physical_name=item["FunctionName"],
            arn=item["FunctionArn"],
            role_arn=item["Role"],
            handler=item["Handler"],
            code_directories=code,
            env=item.get("Environment", {}).get("Variables", {}),
            timeout_seconds=item["Timeout"],
            memory_megabytes=item["MemorySize"],
        )
    return functions


def _stage_variables(aws: LocalAws, api_id: str) -> dict[str, str]:
    stage = aws.client("apigatewayv2").get_stage(ApiId=api_id, StageName="$default")
    return dict(stage.get("StageVariables", {}))


def _queue_sources(aws: LocalAws, by_arn: Mapping[str, str]) -> list[QueueSource]:
    sources = []
    for item in aws.client("lambda").list_event_source_mappings()["EventSourceMappings"]:
        arn = item["EventSourceArn"]
        if ":sqs:" not in arn:
            continue
        queue = aws.client("sqs").get_queue_url(QueueName=arn.rsplit(":", 1)[1])
        sources.append(
            QueueSource(
                function=by_arn[item["FunctionArn"]],
                queue_arn=arn,
                queue_url=queue["QueueUrl"],
                batch_size=item.get("BatchSize", 10),
                batching_window_seconds=item.get("MaximumBatchingWindowInSeconds", 0),
                maximum_concurrency=item.get("ScalingConfig", {}).get("MaximumConcurrency"),
                reports_batch_item_failures="ReportBatchItemFailures"
                in item.get("FunctionResponseTypes", []),
            )
        )
    return sources


def _stream_sources(aws: LocalAws, by_arn: Mapping[str, str]) -> list[StreamSource]:
    return [
        StreamSource(
            function=by_arn[item["FunctionArn"]],
            stream_arn=item["EventSourceArn"],
            batch_size=item.get("BatchSize", 100),
            needs_attribute=_attribute_in(item.get("FilterCriteria", {}).get("Filters", [])),
        )
        for item in aws.client("lambda").list_event_source_mappings()["EventSourceMappings"]
        if ":dynamodb:" in item["EventSourceArn"]
    ]


def _attribute_in(filters: Sequence[Mapping[str, str]]) -> str | None:
    """The attribute whose presence a filter asks for; other filters are not understood here."""
    if not filters:
        return None
    (one,) = filters
    image = json.loads(one["Pattern"])["dynamodb"]["NewImage"]
    ((name, test),) = image.items()
    if list(test.values()) != [[{"exists": True}]]:
        raise DeploymentFailed(f"the filter {one['Pattern']} is more than the local world knows")
    return str(name)


def _schedule(aws: LocalAws, name: str, by_arn: Mapping[str, str]) -> Schedule:
    item = aws.client("scheduler").get_schedule(Name=name)
    return Schedule(
        name=name,
        function=by_arn[item["Target"]["Arn"]],
        expression=item["ScheduleExpression"],
        event=json.loads(item["Target"].get("Input") or "{}"),
    )
