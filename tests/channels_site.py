"""A project of Django with a database and Channels, in a process of its own: who says what is written to its output.

`python -m tests.channels_site DIRECTORY`; settings of Django can be made once in a process, and another example does.
"""

from __future__ import annotations

import importlib
import json
import logging
import runpy
import sys
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import django
from django import conf
from django.http import HttpResponse
from django.urls import path, re_path

from persistconn import App, Connection, PersistentConnection, Request
from tests.drivers.asgi_client import AsgiClient, Call, lifespan

EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "in_channels.py"
WAYS = (("classic", "aspnetcore"), ("webSockets", "serverSentEvents"))


class Named(PersistentConnection):
    async def on_received(self, connection: Connection, data: Any) -> None:
        await connection.send({"user": connection.user})


class Late:
    """Middleware that leaves the query to whoever asks for the user, as Django's own does."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        from django.contrib.auth import get_user
        from django.utils.functional import SimpleLazyObject

        found = SimpleLazyObject(lambda: get_user(SimpleNamespace(session=scope["session"])))
        await self.inner({**scope, "user": found}, receive, send)


def hello(request: Any) -> Any:
    return HttpResponse("hello")


urlpatterns = [path("hello", hello)]


def configure(directory: Path, **more: Any) -> None:
    conf.settings.configure(
        SECRET_KEY="a key for the tests",
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": directory / "site.sqlite3"}},
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        USE_TZ=True,
        ROOT_URLCONF=__name__,
        ALLOWED_HOSTS=["*"],
        **more,
    )
    django.setup()


def log_in(name: str) -> str:
    """The cookie of somebody who has logged in."""
    from django.contrib.auth import get_user_model, login
    from django.http import HttpRequest

    request = HttpRequest()
    request.session = importlib.import_module(conf.settings.SESSION_ENGINE).SessionStore()
    login(request, get_user_model().objects.create_user(name, password="secret"))
    request.session.save()
    return f"{conf.settings.SESSION_COOKIE_NAME}={request.session.session_key}"


async def say(client: AsgiClient, dialect: str, transport: str) -> Any:
    """What the server makes of the client."""
    mount = "/rt/named"
    if dialect == "aspnetcore":
        target, call = await client.aspnetcore(mount, transport)
        if transport == "webSockets":
            call.text('"x"')
            return json.loads(await call.hear())["user"]
        assert (await client.post(target, b'"x"'))[0] == 200
    else:
        query, call = await client.classic(mount, transport)
        if transport == "webSockets":
            call.text('"x"')
            return (await call.message())["user"]
        assert (await client.post(f"{mount}/send?{query}", b"data=x"))[0] == 200
    body = await call.text_with('"user":')
    return json.loads(body[(start := body.index('{"user":')) : body.index("}", start) + 1])["user"]


def cookies_set(call: Call) -> bool:
    return any(name.lower() == b"set-cookie" for name, _ in call.sent[0]["headers"])


async def main(cookie: str) -> dict[str, Any]:
    auth = importlib.import_module("channels.auth")
    routing = importlib.import_module("channels.routing")

    def in_thread(request: Request) -> str | None:
        """A plain function runs in a thread, where Django asks its database."""
        assert request.scope is not None
        return request.scope["user"].username or None

    def late(inner: Any) -> Any:
        return auth.CookieMiddleware(auth.SessionMiddleware(Late(inner)))

    found: dict[str, Any] = {}
    for kind, authenticate in (("stack", None), ("late", None), ("late in a thread", in_thread)):
        if kind == "stack":  # as the documentation shows it
            example = runpy.run_path(str(EXAMPLE))
            realtime, site = example["realtime"], example["application"]
        else:
            realtime = App(secret_keys=["a key for the tests"], authenticate=authenticate)
            inner = late(routing.URLRouter([re_path("^rt/", realtime)]))
            site = routing.ProtocolTypeRouter({"http": inner, "websocket": inner, "lifespan": realtime})
        realtime.add_connection("/named", Named())
        warned = len(WARNINGS)
        async with lifespan(site), AsgiClient.of(site) as client:
            for who, header in (("ann", cookie), ("nobody", "sessionid=unknown")):
                client.scope["headers"] = [(b"host", b"example.org"), (b"cookie", header.encode())]
                found[f"{kind}, {who}"] = [await say(client, *way) for way in product(*WAYS)]
            found[f"{kind}, cookies are set"] = cookies_set(client.calls[0])
            if kind == "stack":
                found["the site itself"] = await client.get("/hello")
            found[f"{kind}, warnings"] = len(WARNINGS) > warned
    return found


WARNINGS: list[logging.LogRecord] = []


class Kept(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        WARNINGS.append(record)


if __name__ == "__main__":
    logging.getLogger("persistconn").addHandler(Kept(logging.WARNING))
    configure(Path(sys.argv[1]), SESSION_SAVE_EVERY_REQUEST=True)
    importlib.import_module("django.core.management").call_command("migrate", verbosity=0)
    print(json.dumps(anyio.run(main, log_in("ann"))))
