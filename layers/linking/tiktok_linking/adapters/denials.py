"""Says what a role lacks: to callers a call that AWS denies is a store that does not answer."""

from __future__ import annotations

import logging
from typing import Any

logger = logging.getLogger("tiktok_linking.denials")


def tell_denials(session: Any) -> None:
    """Log each call of this botocore session that AWS denies: its name, nothing of the request."""
    session.register("after-call", _look)


def _look(*, http_response: Any, parsed: Any, model: Any, **_: Any) -> None:
    if http_response.status_code < 400:
        return
    code = str(parsed.get("Error", {}).get("Code", ""))
    if "AccessDenied" in code:  # AccessDeniedException, and SQS's AccessDenied
        call = f"{model.service_model.service_name}.{model.name}"
        logger.error("access denied", extra={"call": call, "code": code})
        # Imported here: most functions count nothing, and pay for no import at a cold start.
        from tiktok_linking import metrics

        metrics.denied()
