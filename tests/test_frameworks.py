"""The examples for frameworks, called through the framework's own routing, without a server."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.cookies import SimpleCookie
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any
from urllib.parse import quote

import anyio
import pytest

from persistconn import App, ConfigurationError, Connection, PersistentConnection, Settings
from persistconn.hubs import Hub, authorize
from persistconn.testing import Client
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


async def ask(call: Call, target: str, *arguments: Any) -> Any:
    """Call a method as ASP.NET Core clients do: the completion."""
    call.text(json.dumps({"type": 1, "invocationId": "1", "target": target, "arguments": arguments}) + RS)
    while True:
        said = [json.loads(one) for one in (await call.hear()).split(RS) if one]
        for one in said:
            if one.get("type") == 3:
                return one.get("result", one.get("error"))


async def test_users_and_roles_of_starlette() -> None:
    pytest.importorskip("starlette", reason="starlette is not installed")
    from starlette.applications import Starlette
    from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
    from starlette.middleware import Middleware
    from starlette.middleware.authentication import AuthenticationMiddleware
    from starlette.requests import HTTPConnection
    from starlette.routing import Mount

    class ByCookie(AuthenticationBackend):
        async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser]:
            return AuthCredentials(conn.cookies["roles"].split("-")), SimpleUser("ann")

    class Desk(Hub):
        @authorize(roles=["editor", "owner"])
        async def publish(self) -> str | None:
            return self.context.user

    app = App(secret_keys=["a key for the tests"])
    app.add_hubs("/desk", Desk)
    site = Starlette(
        routes=[Mount("/rt", app=app)], middleware=[Middleware(AuthenticationMiddleware, backend=ByCookie())]
    )
    for roles, answer in (("reader-owner", '"result":"ann"'), ("reader", '"error"')):
        async with served(site, f"roles={roles}") as client:
            _, call = await client.aspnetcore("/rt/desk", "webSockets")
            call.text('{"protocol":"json","version":1}' + RS)
            assert await call.hear() == "{}" + RS
            call.text(json.dumps({"type": 1, "invocationId": "1", "target": "publish", "arguments": []}) + RS)
            said = ""
            while '"invocationId":"1"' not in said:
                said = await call.hear()
            assert answer in said


async def test_fastapi() -> None:
    module = load("in_fastapi", needs="fastapi")
    async with served(module.app) as client:
        assert await client.get("/stock/apples") == (200, '"3 for EUR"')
        _, call = await client.aspnetcore("/rt/hubs", "webSockets")
        _, page = await client.classic("/rt/hubs", "webSockets", connectionData='[{"name":"shop"}]')
        call.text('{"protocol":"json","version":1}' + RS)
        assert await call.hear() == "{}" + RS
        assert await ask(call, "buy", "apples") == 2
        assert (await page.message())["A"] == ["apples", "EUR"]
        page.text(json.dumps({"H": "Shop", "M": "buy", "A": ["apples"], "I": 1}))
        assert (await page.message())["A"] == ["apples", "EUR"]
        assert json.loads(await page.hear()) == {"R": 1, "I": "1"}
        assert await client.get("/stock/apples") == (200, '"1 for EUR"')


async def test_what_fastapi_gives_to_routes(caplog: pytest.LogCaptureFixture) -> None:
    """Its marks, its security, and Starlette's views of a request, whatever the transport is."""
    fastapi = pytest.importorskip("fastapi", reason="fastapi is not installed")
    from fastapi.security import OAuth2PasswordBearer

    class Paging:
        def __init__(self, limit: int = 10) -> None:
            self.limit = limit

    def views(request: fastapi.Request, socket: fastapi.WebSocket) -> list[Any]:
        same = request.headers["host"] == socket.headers["host"]
        return [request.method, request.url.path.startswith("/rt/hubs"), socket.scope["type"], same]

    async def closing(socket: fastapi.WebSocket) -> None:
        await socket.close()

    token = fastapi.Security(OAuth2PasswordBearer(tokenUrl="token"))

    class Given(Hub):
        async def all(
            self,
            a: Annotated[Paging, fastapi.Depends()],
            b: int,
            c: Annotated[list[Any], fastapi.Depends(views)],
            d: str = token,
        ) -> list[Any]:
            return [a.limit, b, *c, d]

        async def closes(self, _: Annotated[None, fastapi.Depends(closing)]) -> None: ...

    # These are names of this function, which nobody finds by a text.
    Given.all.__annotations__.update(
        a=Annotated[Paging, fastapi.Depends()], c=Annotated[list[Any], fastapi.Depends(views)]
    )
    Given.closes.__annotations__.update(_=Annotated[None, fastapi.Depends(closing)])
    views.__annotations__.update(request=fastapi.Request, socket=fastapi.WebSocket)
    closing.__annotations__.update(socket=fastapi.WebSocket)
    realtime = App(secret_keys=["a key for the tests"], settings=Settings(detailed_errors=True))
    realtime.add_hubs("/hubs", Given)
    application = fastapi.FastAPI()
    application.mount("/rt", realtime)
    async with served(application) as client:
        client.scope["headers"] = [*client.scope["headers"], (b"authorization", b"Bearer abc")]
        query, call = await client.classic("/rt/hubs", "webSockets", connectionData='[{"name":"given"}]')
        call.text(json.dumps({"H": "Given", "M": "all", "A": [5], "I": 1}))
        assert json.loads(await call.hear())["R"] == [10, 5, "GET", True, "websocket", True, "abc"]
        call.text(json.dumps({"H": "Given", "M": "closes", "A": [], "I": 2}))
        assert "persistconn reads and writes this WebSocket" in json.loads(await call.hear())["E"]
        query, call = await client.classic("/rt/hubs", "serverSentEvents", connectionData='[{"name":"given"}]')
        said = quote(json.dumps({"H": "Given", "M": "all", "A": [5], "I": 1})).encode()
        _, answer = await client.post(f"/rt/hubs/send?{query}", b"data=" + said)
        assert json.loads(answer)["R"] == [10, 5, "GET", True, "websocket", True, "abc"]


async def test_what_only_a_route_can_have(caplog: pytest.LogCaptureFixture) -> None:
    fastapi = pytest.importorskip("fastapi", reason="fastapi is not installed")

    async def by_header(agent: str = fastapi.Header("")) -> str:
        return agent

    async def of_server(connection: Any) -> str:
        return str(connection.url)

    of_server.__annotations__["connection"] = fastapi.requests.HTTPConnection

    class Routed(Hub):
        async def hello(self, agent: str = fastapi.Depends(by_header)) -> str:
            return agent

    class Scoped(Hub):
        async def hello(self, url: str = fastapi.Depends(of_server)) -> str:
            return url

    with pytest.raises(ConfigurationError, match="parameter agent is read from the request of a route"):
        App(secret_keys=["a key for the tests"]).add_hubs("/hubs", Routed)
    app = App(secret_keys=["a key for the tests"], settings=Settings(detailed_errors=True))
    app.add_hubs("/hubs", Scoped)
    async with Client(app, "/hubs") as client:  # our own server
        with pytest.raises(Exception, match="made of an ASGI scope, and this server has none"):
            await client.invoke("hello")


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


def test_users_of_channels_in_a_database(tmp_path: Path) -> None:
    """With `AuthMiddlewareStack`, and with middleware that leaves the query to whoever asks for the user."""
    pytest.importorskip("channels", reason="channels is not installed")
    command = [sys.executable, "-m", "tests.channels_site", str(tmp_path)]
    done = subprocess.run(command, cwd=EXAMPLES.parents[1], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    everywhere = 4  # both dialects, over WebSocket and HTTP
    assert json.loads(done.stdout) == {
        "stack, ann": ["ann"] * everywhere,
        "stack, nobody": [None] * everywhere,
        "the site itself": [200, "hello"],
        "stack, cookies are set": True,
        "stack, warnings": False,
        "late, ann": [None] * everywhere,
        "late, nobody": [None] * everywhere,
        "late, cookies are set": True,
        "late, warnings": True,
        "late in a thread, ann": ["ann"] * everywhere,
        "late in a thread, nobody": [None] * everywhere,
        "late in a thread, cookies are set": True,
        "late in a thread, warnings": False,
    }


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
