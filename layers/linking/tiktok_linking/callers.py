"""Callers: who signed a request, and the one tenant that some of them are held to.

Who calls is API Gateway's word alone, an ARN; nothing that a client sends is looked at. Parameter
CallerTenants maps role names to tenants. Names are compared byte for byte, and what is not clearly
one name or another is refused: a caller that is mapped to nobody may name any tenant.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tiktok_linking.errors import NotFound

logger = logging.getLogger("tiktok_linking.callers")

NO_TENANTS = "none"
"""What the functions are told where no caller is mapped: nothing at all would be a mistake."""

# IAM's names for roles and users, without the comma and the equals sign that part our pairs.
_MAPPED = re.compile(
    r"(?P<role>[A-Za-z0-9_+.@-]{1,64})"
    r"=(?P<tenant>[A-Za-z0-9._~@/-]{1,128})"
    r"(:(?P<registrations>[a-z][a-z0-9-]{0,31}(\+[a-z][a-z0-9-]{0,31})*))?"
)
# Session names hold no slash and STS leaves a role's path out, so there is one way to read these.
# https://github.com/kubernetes-sigs/aws-iam-authenticator/pull/144 (read 2026-11)
_NAMED = re.compile(
    r"arn:aws[a-z-]*:(?:"
    r"sts::[0-9]{12}:assumed-role/(?P<role>[A-Za-z0-9_+=,.@-]{1,64})/[A-Za-z0-9_+=,.@-]{1,64}"
    r"|iam::[0-9]{12}:user/(?:[\x21-\x7e]+/)?(?P<user>[A-Za-z0-9_+=,.@-]{1,64})"
    r")"
)


@dataclass(frozen=True, slots=True)
class Tenant:
    """What a mapped caller may touch. Without ``registrations``, all of the stack's."""

    id: str
    registrations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Caller:
    """The backend that signed the request: its principal with the session name cut off.

    Without a tenant it may touch everything, and gives ``tenant_id`` as data.
    """

    principal: str
    tenant: Tenant | None = None

    def may_touch(self, tenant_id: str | None, registration: str) -> bool:
        """Whether a session or an account with these is this caller's."""
        if self.tenant is None:
            return True
        return tenant_id == self.tenant.id and (
            not self.tenant.registrations or registration in self.tenant.registrations
        )

    def must_reach(self, tenant_id: str | None, registration: str) -> None:
        """Raise NotFound for what is another's, as for what is not there at all."""
        if not self.may_touch(tenant_id, registration):
            logger.warning(
                "another tenant's", extra={"event": "tenant_denied", "caller": self.principal}
            )
            raise NotFound

    def tenant_of(self, asked: str | None) -> str | None:
        """Whose a thing is that a request makes or lists, whatever a mapped caller asks for."""
        return asked if self.tenant is None else self.tenant.id

    def registrations_of(self, stack: Sequence[str]) -> tuple[str, ...]:
        """The app registrations that this caller may use; the first is its default."""
        if self.tenant is None or not self.tenant.registrations:
            return tuple(stack)
        return tuple(name for name in self.tenant.registrations if name in stack)


def read_caller_tenants(text: str) -> dict[str, Tenant]:
    """Read ``role=tenant`` and ``role=tenant:registration+registration``, comma separated.

    Raises:
        ValueError: it is not such a list, or one role stands in it twice, in whatever case.
    """
    tenants: dict[str, Tenant] = {}
    for part in () if text == NO_TENANTS else text.split(","):
        found = _MAPPED.fullmatch(part)
        if found is None:
            raise ValueError("not role=tenant or role=tenant:registration+registration")
        role = found["role"]
        if role.lower() in (other.lower() for other in tenants):
            raise ValueError("a role is mapped twice")
        registrations = (found["registrations"] or "").split("+")
        tenants[role] = Tenant(found["tenant"], tuple(r for r in registrations if r))
    return tenants


def caller_of(arn: str, tenants: Mapping[str, Tenant]) -> Caller | None:
    """Who calls, by the ARN from the authorizer; None if no tenant can be told from it.

    Where roles are mapped, only roles and users may call: whoever makes a federated session chooses
    its name. IAM has no two names that differ in case alone (CreateRole, RoleName), so such a name
    is a mistake in the parameter, and no reason to let its caller roam.
    """
    if not tenants:
        return Caller(principal_of(arn))
    found = _NAMED.fullmatch(arn)
    name = found and (found["role"] or found["user"])
    if not name:
        return None
    if name not in tenants and name.lower() in (role.lower() for role in tenants):
        return None
    return Caller(name, tenants.get(name))


def principal_of(arn: str) -> str:
    """``arn:…:assumed-role/NAME/session`` → ``NAME``; other principals by their last part."""
    parts = arn.split("/")
    return parts[1] if ":assumed-role" in parts[0] and len(parts) > 2 else parts[-1]
