"""Connections in Starlette: its routes, its user, its lifespan."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from persistconn import App, Connection, PersistentConnection


class Rooms(PersistentConnection):
    async def on_received(self, connection: Connection, data: Any) -> None:
        await self.broadcast({"from": connection.user, "said": data})


class ByCookie(AuthenticationBackend):
    """Whatever your users are known by; here they may call themselves what they like."""

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser] | None:
        name = conn.cookies.get("name")
        return None if name is None else (AuthCredentials(["authenticated"]), SimpleUser(name))


rooms = Rooms()
realtime = App(secret_keys=["a secret of your own, from elsewhere"])
realtime.add_connection("/rooms", rooms)


async def announce(request: Request) -> PlainTextResponse:
    await rooms.broadcast(await request.json())
    return PlainTextResponse("told everybody")


app = Starlette(
    routes=[Route("/announce", announce, methods=["POST"]), Mount("/rt", realtime)],
    middleware=[Middleware(AuthenticationMiddleware, backend=ByCookie())],
    lifespan=realtime.lifespan,
)
