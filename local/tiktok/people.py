"""The TikTok users of the simulation: who can sit in front of the consent page."""

import hashlib
from dataclasses import dataclass
from enum import StrEnum


class Standing(StrEnum):
    """What TikTok thinks of a user."""

    GOOD = "good"
    # TikTok decides by country, age and account; the callback then carries `error` ("the current
    # user is not eligible for using third-party login" [web]).
    NOT_ELIGIBLE = "not_eligible"
    # Banned or deleted: cannot log in, so no callback comes.
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Person:
    """A TikTok user; `name` is the short name used by controls, not a TikTok id."""

    name: str
    display_name: str
    username: str
    note: str = ""
    standing: Standing = Standing.GOOD
    is_verified: bool = False
    follower_count: int = 120
    following_count: int = 80
    likes_count: int = 1_500
    video_count: int = 2

    @property
    def union_id(self) -> str:
        """The same user in all apps of one developer [user-info]."""
        return _opaque_id(f"union/{self.name}")

    def open_id(self, client_key: str) -> str:
        """The same user within one app; another app sees another id [user-info]."""
        return _opaque_id(f"open/{client_key}/{self.name}")


BUILT_IN_PEOPLE = (
    Person("mina", "Mina Park", "minapark", "creator", is_verified=True, follower_count=48_200),
    Person("jonas", "Jonas Weber", "jonasweber.bikes", "business account", follower_count=3_950),
    Person("amara", "Amara Okafor", "amara.okafor", "personal account"),
    Person("robin", "Robin Young", "robinyoung", "not eligible: too young", Standing.NOT_ELIGIBLE),
    Person("dana", "Dana Gone", "danagone", "account deleted", Standing.CLOSED),
    Person("boris", "Boris Blocked", "borisblocked", "account banned", Standing.CLOSED),
)


def _opaque_id(seed: str) -> str:
    # Steady between runs, so that a restarted simulation knows the same users by the same ids.
    digest = hashlib.sha256(seed.encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}"
