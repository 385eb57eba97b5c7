"""Calls to AWS whose failure means one thing: a store of ours does not answer now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tiktok_linking.errors import StoreUnavailable


def ask(service: str, operation: Callable[..., Any], **arguments: Any) -> Any:
    """Call an operation of a client of the SDK.

    Raises:
        StoreUnavailable: named by the service and AWS's code. The cause stays out of it, since it
            can quote the request.
    """
    try:
        return operation(**arguments)
    except ClientError as error:
        raise StoreUnavailable(f"{service} {error.response['Error']['Code']}") from None
    except BotoCoreError as error:
        raise StoreUnavailable(f"{service} {type(error).__name__}") from None
