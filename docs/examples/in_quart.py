"""Connections in Quart: in front of its own ASGI application, with the user of its session."""

from __future__ import annotations

from http.cookies import SimpleCookie
from typing import Any

from itsdangerous import BadSignature
from quart import Quart, session
from quart.sessions import SecureCookieSessionInterface

from persistconn import App, Connection, PersistentConnection, Request

app = Quart(__name__)
app.secret_key = "a secret of your own, from elsewhere"


@app.get("/login/<name>")
async def log_in(name: str) -> str:
    session["name"] = name
    return "welcome"


def who(request: Request) -> str | None:
    """The name in Quart's session."""
    cookie = SimpleCookie(request.headers.get("cookie", "")).get("session")
    reader = SecureCookieSessionInterface().get_signing_serializer(app)
    try:
        return reader.loads(cookie.value).get("name") if cookie and reader else None
    except BadSignature:
        return None


class Chat(PersistentConnection):
    async def on_received(self, connection: Connection, data: Any) -> None:
        await self.broadcast({"from": connection.user, "said": data})


realtime = App(secret_keys=[app.secret_key], authenticate=who)
realtime.add_connection("/rt/chat", Chat())
quart = app.asgi_app


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    ours = scope["type"] != "lifespan" and scope["path"].startswith("/rt/")
    await (realtime if ours else quart)(scope, receive, send)


app.asgi_app = asgi_app  # type: ignore[method-assign]  # as Quart has it for middleware


@app.while_serving
async def lifespan() -> Any:
    async with realtime.lifespan():
        yield
