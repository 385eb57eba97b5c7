"""Linking by django-allauth's TikTok provider, as its documents show, over SQLite in memory."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

from linking import Link, measure


def make(given: dict[str, Any]) -> Link:
    """A Django project of one file, called without a server in between."""
    import django
    from django.conf import settings

    client = {"client_id": given["client_key"], "secret": given["client_secret"], "key": ""}
    settings.configure(
        SECRET_KEY="of a benchmark",  # noqa: S106 - signs cookies that nobody keeps
        ALLOWED_HOSTS=["*"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.messages",
            "django.contrib.sessions",
            "allauth",
            "allauth.account",
            "allauth.socialaccount",
            "allauth.socialaccount.providers.tiktok",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
            "allauth.account.middleware.AccountMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                    ]
                },
            }
        ],
        ROOT_URLCONF="allauth.urls",
        AUTHENTICATION_BACKENDS=["allauth.account.auth_backends.AuthenticationBackend"],
        SOCIALACCOUNT_STORE_TOKENS=True,
        SOCIALACCOUNT_LOGIN_ON_GET=True,
        SOCIALACCOUNT_PROVIDERS={"tiktok": {"APPS": [client]}},
        ACCOUNT_EMAIL_VERIFICATION="none",
        LOGIN_REDIRECT_URL="/done/",
        USE_TZ=True,
        # Tables are made at once: a project's history of migrations is not what is measured.
        MIGRATION_MODULES=dict.fromkeys(
            ("auth", "contenttypes", "sessions", "account", "socialaccount")
        ),
        LOGGING_CONFIG=None,
    )
    django.setup()
    from allauth.socialaccount.models import SocialToken
    from allauth.socialaccount.providers.tiktok.views import TikTokOAuth2Adapter
    from django.core.management import call_command
    from django.test import Client

    TikTokOAuth2Adapter.access_token_url = f"{given['api']}/v2/oauth/token/"
    TikTokOAuth2Adapter.profile_url = f"{given['api']}/v2/user/info/"
    call_command("migrate", run_syncdb=True, verbosity=0)

    def link(open_id: str) -> None:
        browser = Client()
        sent = browser.get("/tiktok/login/")
        state = parse_qs(urlsplit(sent["Location"]).query)["state"][0]
        query = {"code": given["code"] + open_id, "state": state}
        landed = browser.get("/tiktok/login/callback/", query)
        if not SocialToken.objects.filter(account__uid=open_id).exists():
            raise AssertionError((landed.status_code, landed.content[-500:]))

    return link


if __name__ == "__main__":
    measure(make)
