"""AWS in this process (moto), with tables as template.yaml describes them.

moto is not atomic, so nothing here may be used for races; those run against the local world.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from moto import mock_aws

from local.deploy import Template, read_template

ROOT = Path(__file__).resolve().parents[2]
REGION = "us-east-1"


@functools.cache
def template() -> Template:
    """template.yaml, short forms written out."""
    return read_template(ROOT / "template.yaml")


@functools.cache
def client(service: str) -> Any:
    """A client for moto; made once, since making one costs more than a test."""
    session: Any = _session()
    return session.client(service)


@functools.cache
def _session() -> boto3.session.Session:
    return boto3.session.Session(
        aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION
    )


@contextmanager
def aws() -> Iterator[None]:
    """AWS without anything in it, forgotten at the end."""
    with mock_aws():
        yield


def create_table(logical_id: str) -> str:
    """Create a table with the template's own keys and indexes, and give its name."""
    properties = template()["Resources"][logical_id]["Properties"]
    wanted = ("KeySchema", "AttributeDefinitions", "GlobalSecondaryIndexes", "BillingMode")
    client("dynamodb").create_table(
        TableName=logical_id, **{key: properties[key] for key in wanted if key in properties}
    )
    return logical_id
