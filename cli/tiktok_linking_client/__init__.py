"""The stack's API for a product's backend: signed, typed, with retries that wait as told.

    from tiktok_linking_client import LinkingClient

    stack = LinkingClient("https://abcde12345.execute-api.us-east-1.amazonaws.com")
    session = stack.create_link_session("u_42", return_url="https://app.example.com/tiktok/return")
    # send the browser to session.url; when it is back:
    token = stack.get_token(stack.list_accounts(end_user_id="u_42")[0].id)

    client      LinkingClient, a method for each route of a backend
    models      what it answers: LinkSession, Account, Token, Unlinked
    errors      StackRefused and StackUnreachable, with code, who acts, and whether to try again
    signing     AWS Signature Version 4 by botocore

Needs botocore and requests. docs/client.md has examples.
"""

from tiktok_linking_client.client import LinkingClient
from tiktok_linking_client.errors import LinkingError, StackRefused, StackUnreachable
from tiktok_linking_client.models import Account, LinkSession, Token, Unlinked

__all__ = [
    "Account",
    "LinkSession",
    "LinkingClient",
    "LinkingError",
    "StackRefused",
    "StackUnreachable",
    "Token",
    "Unlinked",
]
