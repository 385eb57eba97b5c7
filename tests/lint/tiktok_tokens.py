"""A plugin of detect-secrets: tokens of TikTok. Its own plugins stop looking at the full stop.

Their look: docs/tiktok.md; observability.py redacts the same.
"""

from __future__ import annotations

import re

from detect_secrets.plugins.base import RegexBasedDetector


class TikTokTokenDetector(RegexBasedDetector):
    """An access token, a refresh token or a client's own."""

    secret_type = "TikTok token"
    denylist = (re.compile(r"\b(?:act|rft|clt)\.[A-Za-z0-9!*_-]{20,}"),)
