"""Connections beside Django: an `asgi.py` that tells them apart, and the user of Django's session."""

from __future__ import annotations

from http.cookies import SimpleCookie
from importlib import import_module
from typing import Any

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

from persistconn import App, Connection, PersistentConnection, Request

settings.configure(  # a project has a module of settings instead
    SECRET_KEY="a secret of your own, from elsewhere",
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
)


def log_in(request: HttpRequest) -> HttpResponse:
    request.session["name"] = request.GET["name"]
    return HttpResponse("welcome")


urlpatterns = [path("login", log_in)]


async def who(request: Request) -> str | None:
    """The name in Django's session. Where sessions are rows of a database: `await session.aget("name")`."""
    cookies: SimpleCookie = SimpleCookie(request.headers.get("cookie", ""))
    key = cookies.get(settings.SESSION_COOKIE_NAME)
    session = import_module(settings.SESSION_ENGINE).SessionStore(key.value if key else None)
    name: str | None = session.get("name")
    return name


class Chat(PersistentConnection):
    async def on_received(self, connection: Connection, data: Any) -> None:
        await self.broadcast({"from": connection.user, "said": data})


realtime = App(secret_keys=[settings.SECRET_KEY], authenticate=who)
realtime.add_connection("/rt/chat", Chat())
django = get_asgi_application()


async def application(scope: Any, receive: Any, send: Any) -> None:
    ours = scope["type"] == "lifespan" or scope["path"].startswith("/rt/")  # Django takes no lifespan
    await (realtime if ours else django)(scope, receive, send)
