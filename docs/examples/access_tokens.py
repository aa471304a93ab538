"""Who somebody is, by a signed token that is good for an hour."""

import hmac
import secrets
import time

from persistconn import App, Identity, Request
from persistconn.hubs import Hub, authorize

KEY = secrets.token_bytes(32)  # of whoever gives tokens away; a login page, another service


def token_for(user: str, lifetime: float = 3600) -> str:
    claims = f"{user}.{int(time.time() + lifetime)}"
    return f"{claims}.{hmac.digest(KEY, claims.encode(), 'sha256').hex()}"


async def authenticate(request: Request) -> Identity | None:
    claims, _, signature = (request.token or "").rpartition(".")  # of the header, or of the address
    if not hmac.compare_digest(hmac.digest(KEY, claims.encode(), "sha256").hex(), signature):
        return None
    user, _, until = claims.rpartition(".")
    left = float(until) - time.time()
    return Identity(user, expires_in=left) if left > 0 else None


@authorize
class LetterHub(Hub):
    async def who_am_i(self) -> str | None:
        return self.context.user


app = App(authenticate=authenticate)
app.add_hubs("/letters", LetterHub)
app.add_page("/token", lambda request: token_for("ann").encode(), "text/plain")  # here anybody is Ann
