"""The examples for frameworks, called through the framework's own routing, without a server."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.cookies import SimpleCookie
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest

from persistconn import App, Connection, PersistentConnection
from tests.drivers.asgi_client import AsgiClient, Call, lifespan

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
RS = "\x1e"


class Named(PersistentConnection):
    """Tells clients who they are."""

    async def on_received(self, connection: Connection, data: Any) -> None:
        await connection.send(connection.user)


pytestmark = pytest.mark.filterwarnings("default")  # what frameworks say of each other is not ours to judge


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def load(name: str, *, needs: str) -> ModuleType:
    pytest.importorskip(needs, reason=f"{needs} is not installed")
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
        assert spec is not None and spec.loader is not None
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


@asynccontextmanager
async def served(application: Any, cookie: str = "") -> AsyncIterator[AsgiClient]:
    """A client of the application within its lifespan, as a server has it: also with a state for all requests."""
    headers = [(b"host", b"example.org")] + ([(b"cookie", cookie.encode())] if cookie else [])
    async with lifespan(application) as life, AsgiClient.of(application, headers=headers) as client:
        client.scope["state"] = life.scope["state"]
        yield client


def cookie_of(call: Call) -> str:
    """What the answer sets, as the next request says it."""
    (set_cookie,) = [value for name, value in call.sent[0]["headers"] if name.lower() == b"set-cookie"]
    ((name, morsel),) = SimpleCookie(set_cookie.decode()).items()
    return f"{name}={morsel.coded_value}"


async def test_starlette() -> None:
    module = load("in_starlette", needs="starlette")
    async with served(module.app, "name=ann") as client:
        for transport in ("webSockets", "serverSentEvents"):
            query, call = await client.classic("/rt/rooms", transport)
            assert (await client.post("/announce", b'"lunch"')) == (200, "told everybody")
            if transport == "webSockets":
                assert await call.message() == "lunch"
                call.text('"hello"')
                assert await call.message() == {"from": "ann", "said": "hello"}
            else:
                await client.post(f"/rt/rooms/send?{query}", b"data=%22hello%22")
                assert '{"from":"ann","said":"hello"}' in await call.text_with("hello")
        assert (await client.get("/rt/nothing"))[0] == 404


async def test_fastapi() -> None:
    module = load("in_fastapi", needs="fastapi")
    async with served(module.app) as client:
        assert await client.get("/stock/apples") == (200, "3")
        _, call = await client.aspnetcore("/rt/hubs", "webSockets")
        call.text('{"protocol":"json","version":1}' + RS)
        assert await call.hear() == "{}" + RS
        call.text(json.dumps({"type": 1, "invocationId": "1", "target": "buy", "arguments": ["apples"]}) + RS)
        said = ""
        while '"result":2' not in said:
            said += await call.hear()
        assert '"arguments":["apples","EUR"]' in said
        assert await client.get("/stock/apples") == (200, "2")


async def test_fastapi_in_two_lines() -> None:
    inner = load("in_fastapi_mounted", needs="fastapi").app
    outer = type(inner)()
    outer.mount("/inner", inner)

    @outer.middleware("http")
    async def passing(request: Any, call_next: Any) -> Any:
        """Starlette wraps receive and send in tasks and scopes of its own for that."""
        return await call_next(request)

    for application, mount in ((inner, "/rt"), (outer, "/inner/rt")):
        async with served(application) as client:  # its lifespan stays with it
            for transport in ("webSockets", "serverSentEvents"):
                query, call = await client.classic(f"{mount}/chat", transport)
                if transport == "webSockets":
                    call.text("1")
                    assert await call.message() == 1
                else:
                    await client.post(f"{mount}/chat/send?{query}", b"data=1")
                    await call.text_with('"M":[1]')


async def test_litestar() -> None:
    module = load("in_litestar", needs="litestar")
    async with served(module.app) as client:
        assert await client.get("/") == (200, "the site")
        for transport in ("webSockets", "serverSentEvents"):
            query, call = await client.classic("/rt/echo", transport)
            if transport == "webSockets":
                call.text('"hello"')
                assert await call.message() == "hello"
            else:
                await client.post(f"/rt/echo/send?{query}", b"data=%22hello%22")
                await call.text_with("hello")


async def test_django() -> None:
    module = load("in_django", needs="django")
    async with served(module.application) as client:
        login = client.request("/login?name=ann")
        assert await login.answer() == (200, "welcome")
        client.scope["headers"] = [(b"host", b"example.org"), (b"cookie", cookie_of(login).encode())]
        _, call = await client.classic("/rt/chat", "webSockets")
        call.text('"hello"')
        assert await call.message() == {"from": "ann", "said": "hello"}
        client.scope["headers"] = [(b"host", b"example.org")]
        _, call = await client.classic("/rt/chat", "webSockets")
        call.text('"hello"')
        assert await call.message() == {"from": None, "said": "hello"}


async def test_quart() -> None:
    module = load("in_quart", needs="quart")
    async with served(module.app) as client:
        login = client.request("/login/ann")
        assert await login.answer() == (200, "welcome")
        client.scope["headers"] = [(b"host", b"example.org"), (b"cookie", cookie_of(login).encode())]
        _, call = await client.classic("/rt/chat", "webSockets")
        call.text('"hello"')
        assert await call.message() == {"from": "ann", "said": "hello"}


async def test_channels() -> None:
    """Its router leaves the path as it is; its users may be looked up when somebody asks for their name."""
    load("in_django", needs="django")
    routing = pytest.importorskip("channels.routing", reason="channels is not installed")
    from django.core.exceptions import SynchronousOnlyOperation
    from django.urls import re_path
    from django.utils.functional import SimpleLazyObject

    class User:
        is_authenticated = True
        username = "ann"

    def refuse() -> User:
        raise SynchronousOnlyOperation("You cannot call this from an async context")

    realtime = App(secret_keys=["sixteen or more characters"])
    realtime.add_connection("/chat", Named())
    router = routing.URLRouter([re_path("^rt/", realtime)])
    application = routing.ProtocolTypeRouter({"http": router, "websocket": router})
    async with realtime.running(), AsgiClient.of(application) as client:
        for find, name in ((User, "ann"), (refuse, None)):
            for root in ("", "/site"):
                client.scope.update(user=SimpleLazyObject(find), root_path=root)
                query, call = await client.classic(f"{root}/rt/chat", "webSockets")
                call.text('"hello"')
                assert await call.message() == name
                assert (await client.post(f"{root}/rt/chat/abort?{query}"))[0] == 200


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_starlette_on_trio() -> None:
    """What a callback does with anyio works there."""
    routing = pytest.importorskip("starlette.routing", reason="starlette is not installed")
    applications = pytest.importorskip("starlette.applications")

    class Slow(PersistentConnection):
        async def on_received(self, connection: Connection, data: Any) -> None:
            async with anyio.create_task_group() as tasks:
                for each in data:
                    tasks.start_soon(connection.send, await anyio.to_thread.run_sync(str.upper, each))

    realtime = App(secret_keys=["sixteen or more characters"])
    realtime.add_connection("/slow", Slow())
    app = applications.Starlette(routes=[routing.Mount("/rt", realtime)], lifespan=realtime.lifespan)
    async with served(app) as client:
        for transport in ("webSockets", "serverSentEvents"):
            query, call = await client.classic("/rt/slow", transport)
            if transport == "webSockets":
                call.text('["a"]')
                assert await call.message() == "A"
            else:
                assert (await client.post(f"/rt/slow/send?{query}", b"data=%5B%22a%22%5D"))[0] == 200
                await call.text_with('"M":["A"]')
