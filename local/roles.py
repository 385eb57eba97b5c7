"""The credentials that function processes get, and what those credentials may call.

Without AUTH everybody is the account's root, as MiniStack has it. With AUTH=true each function gets
a session of its own role, and MiniStack evaluates that role's policies at every call.
"""

import re
import threading
from collections.abc import Mapping

from local.aws import ROOT_KEY, ROOT_SECRET, LocalAws
from local.functions import FunctionSettings

_SESSION_SECONDS = 12 * 3600  # longer than anybody lets a local world run
_ACCESS_KEY = re.compile(r"Credential=([^/,\s]+)/")


class RoleCredentials:
    """One session per role, made when its first process starts."""

    def __init__(self, endpoint: str, *, enabled: bool) -> None:
        self._endpoint = endpoint
        self._enabled = enabled
        self._lock = threading.Lock()
        self._env_of_role: dict[str, dict[str, str]] = {}
        self._aws_of_key: dict[str, LocalAws] = {}

    def env_of(self, function: FunctionSettings) -> Mapping[str, str]:
        """The credential variables of a function's process."""
        if not self._enabled:
            return {"AWS_ACCESS_KEY_ID": ROOT_KEY, "AWS_SECRET_ACCESS_KEY": ROOT_SECRET}
        with self._lock:
            if function.role_arn not in self._env_of_role:
                self._env_of_role[function.role_arn] = self._assume(function)
            return self._env_of_role[function.role_arn]

    def aws_of(self, function: FunctionSettings) -> LocalAws:
        """The services as this function's role sees them: for what AWS does in its name."""
        env = self.env_of(function)
        return self._aws_of_key.get(env["AWS_ACCESS_KEY_ID"]) or LocalAws(self._endpoint)

    def may_invoke(self, function_name: str, authorization: str) -> None:
        """Ask MiniStack, which knows the policies, by a dry run with the caller's own credentials.

        Raises:
            ClientError: the caller's role may not invoke this function.
        """
        found = _ACCESS_KEY.search(authorization)
        caller = self._aws_of_key.get(found[1]) if found else None
        if caller is not None:
            caller.client("lambda").invoke(FunctionName=function_name, InvocationType="DryRun")

    def _assume(self, function: FunctionSettings) -> dict[str, str]:
        answer = (
            LocalAws(self._endpoint)
            .client("sts")
            .assume_role(
                RoleArn=function.role_arn,
                RoleSessionName=function.physical_name[-64:],
                DurationSeconds=_SESSION_SECONDS,
            )["Credentials"]
        )
        key, secret = answer["AccessKeyId"], answer["SecretAccessKey"]
        token = answer["SessionToken"]
        self._aws_of_key[key] = LocalAws(self._endpoint, key=key, secret=secret, token=token)
        return {
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_SESSION_TOKEN": token,
        }
