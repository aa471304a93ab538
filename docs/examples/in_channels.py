"""Connections in Django Channels: the `asgi.py` of a project whose users are in Django's database."""

from __future__ import annotations

from typing import Any

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.urls import re_path

from persistconn import App, Connection, PersistentConnection


class Chat(PersistentConnection):
    async def on_received(self, connection: Connection, data: Any) -> None:
        await self.broadcast({"from": connection.user, "said": data})


django = get_asgi_application()
realtime = App(secret_keys=[settings.SECRET_KEY])
realtime.add_connection("/chat", Chat())

ours = re_path("^rt/", realtime)
application = ProtocolTypeRouter(
    {
        "http": AuthMiddlewareStack(URLRouter([ours, re_path("", django)])),
        "websocket": AuthMiddlewareStack(URLRouter([ours])),
        "lifespan": realtime,
    }
)
