"""A SignalR server that does what a test says, for people who test clients of theirs."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack, ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import anyio
import anyio.from_thread

from .. import App, ConfigurationError, PersistconnError, RemoteProtocolError, Request, Settings
from ..drivers.listeners import bind
from ..drivers.server import Server
from ..hubs import HubClients, HubError, HubGroups
from ..hubs.filters import HubCall
from ..protocol.reception import TRANSPORTS
from ..tasks import open_tasks
from .call_log import Call, CallLog
from .scripted_hubs import ScriptedHubs
from .waiting import News

if TYPE_CHECKING:
    from ..host import Host
    from .blocking import BlockingFakeServer

__all__ = ["FakeHub", "FakeServer", "fake_server"]


def fake_server(
    path: str = "/signalr",
    *,
    app: App | None = None,
    dialects: Iterable[str] = ("classic", "aspnetcore"),
    settings: Settings | None = None,
    timeout: float = 5.0,
) -> FakeServer:
    """A SignalR server on a free port of 127.0.0.1, to point a client at: `async with fake_server() as server:`.

    Clients of SignalR 1.x and 2.x connect to `server.url`, those of ASP.NET Core SignalR to `server.hub("chat").url`.
    It says what it is told to say and remembers what it was asked. Give it an `app` to have connections of your own
    beside its hubs, which are below `path`. Unless `settings` say otherwise, clients are told in detail what was wrong
    with a call. `timeout` is how many seconds it waits for calls and connections.

    In a plain `with` it runs in a thread, and its methods need no `await`.

    >>> with fake_server() as server:
    ...     server.url.startswith("http://127.0.0.1:"), server.calls
    (True, [])
    """
    return FakeServer(path, app=app, dialects=dialects, settings=settings, timeout=timeout)


class FakeHub:
    """One hub of a fake server: `server.hub("chat")`."""

    def __init__(self, server: FakeServer, name: str) -> None:
        self.name = name
        self._server = server
        self._hub = server._hubs.hub(name)

    @property
    def url(self) -> str:
        """Where clients of ASP.NET Core SignalR connect."""
        return f"{self._server.url}/{self.name}"

    def on(self, method: str, function: Callable[..., Any] | None = None, *, delay: float = 0.0) -> Callable[..., Any]:
        """Answer calls of `method` with what `function` returns; without one it decorates.

        It may be plain, `async def`, or an asynchronous generator for streams, and raise HubError. Arguments are
        converted to the types of its parameters, where they have some. It replaces one that was given before. The
        answer waits for `delay` seconds.
        """
        if function is None:
            return lambda given: self.on(method, given, delay=delay)
        self._hub.give(method, function)
        self._server._delays[self.name.lower(), method.lower()] = delay
        return function

    def fails(self, method: str, message: str, data: Any = None) -> None:
        """Answer calls of `method` with an error: clients see `message`, and those of classic `data`."""

        def fail(*arguments: Any) -> None:
            raise HubError(message, data)

        self.on(method, fail)

    async def push(self, method: str, /, *arguments: Any, to: str | None = None) -> None:
        """Call `method` on all its clients, or on one, by its connection id."""
        await self._server.push(self.name, method, *arguments, to=to)

    @property
    def clients(self) -> HubClients[Any]:
        """Its clients, as a hub has them: `await hub.clients.group("red").send("message", "hi")`."""
        return self._server._hubs.clients_of(self.name)

    @property
    def groups(self) -> HubGroups:
        """Its groups: `await hub.groups.join(connection_id, "red")`."""
        return self._server._hubs.groups_of(self.name)

    def __repr__(self) -> str:
        return f"<FakeHub {self.name}>"


class FakeServer:
    """What `fake_server` gives: a server whose hubs are functions of a test."""

    def __init__(
        self, path: str, *, app: App | None, dialects: Iterable[str], settings: Settings | None, timeout: float
    ) -> None:
        if app is not None and settings is not None:
            raise ConfigurationError("settings are the app's: give them to your App")
        if app is None:
            settings = settings or Settings(detailed_errors=True)
            app = App(secret_keys=[secrets.token_bytes(32)], settings=settings, dialects=dialects)
        self.app = app
        self.delay = 0.0
        """Seconds that every answer to a call waits, beside those of its own."""
        self.timeout = timeout
        self.connections: list[str] = []
        """The ids of the clients that are connected, the oldest first."""
        self.requests: list[Request] = []
        """What was asked for below `url`, refused or not, the oldest first: with what headers, which `token`."""
        self._path = path.rstrip("/")
        self._news = News()
        self._log = CallLog(self._news)
        self._delays: dict[tuple[str, str], float] = {}
        self._refusal: tuple[int, str] | None = None
        self._refusals: float = 0
        self._hubs = ScriptedHubs(self, self.app.settings)
        self._hubs.mount(self.app, self._path)
        self._stack = AsyncExitStack()
        self._threads = ExitStack()
        self._host: Host | None = None
        self._server: Server | None = None

    # Its life -----------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        listeners = bind("127.0.0.1", 0)
        async with AsyncExitStack() as stack:
            for listener in listeners:
                stack.callback(listener.close)
            self._host = await stack.enter_async_context(self.app.running())
            self._server = Server(self._host, listeners, access_log=False, handle_signals=False)
            tasks = await stack.enter_async_context(open_tasks())
            started = _Started()
            tasks.spawn(lambda server: server.run(task_status=started), self._server)
            await started.event.wait()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def __enter__(self) -> BlockingFakeServer:
        from .blocking import BlockingFakeServer

        with ExitStack() as stack:
            portal = stack.enter_context(anyio.from_thread.start_blocking_portal())
            stack.enter_context(portal.wrap_async_context_manager(self))
            self._threads = stack.pop_all()
        return BlockingFakeServer(self, portal)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._threads.close()

    @property
    def port(self) -> int:
        """Where it listens."""
        if self._server is None:
            raise PersistconnError("the fake server is not running: `async with fake_server() as server:`")
        return self._server.port

    @property
    def url(self) -> str:
        """Where clients of SignalR 1.x and 2.x connect, and what the URLs of hubs begin with."""
        return f"http://127.0.0.1:{self.port}{self._path}"

    # What it does -------------------------------------------------------------------------------

    def hub(self, name: str) -> FakeHub:
        """A hub; there is none before it is asked for, and clients that want it before are refused."""
        return FakeHub(self, name)

    async def push(self, hub: str, method: str, /, *arguments: Any, to: str | None = None) -> None:
        """Call `method` on all clients of a hub, or on one, by its connection id."""
        clients = self._hubs.clients_of(hub)
        await (clients.all if to is None else clients.client(to)).send(method, *arguments)

    async def invoke(self, hub: str, method: str, /, *arguments: Any, to: str | None = None, returns: Any = Any) -> Any:
        """Call `method` on one client, by default the newest, and wait for what it returns (ASP.NET Core)."""
        if to is None:
            await self.connected()
            to = self.connections[-1]
        client = self._hubs.clients_of(hub).client(to)
        return await client.invoke(method, *arguments, returns=returns, timeout=self.timeout)

    def drop(self, connection_id: str | None = None) -> None:
        """Cut the sockets of a client, or of all: nobody says goodbye.

        Who polls may come back with the next poll, and counts as connected for the time that this may take.
        """
        assert self._server is not None
        for channel in list(self._server.state.channels):
            exchange = channel._exchange
            if connection_id is None or (exchange is not None and exchange.connection_id == connection_id):
                channel.cut()

    async def end(self, connection_id: str | None = None, *, error: str = "", allow_reconnect: bool = False) -> None:
        """End a connection, or all, and say so: with `error`; with `allow_reconnect` the client may come back."""
        assert self._host is not None
        lifetimes = self._host._callbacks._lifetimes
        for id in [connection_id] if connection_id is not None else list(self.connections):
            lifetime = lifetimes.get(id)
            if lifetime is None:
                continue
            if lifetime.connection.dialect == "aspnetcore":
                await self._hubs.end(id, error, allow_reconnect=allow_reconnect)
            else:
                await lifetime.connection.close(error, allow_reconnect=allow_reconnect)

    def refuse(self, status: int = 401, text: str = "", *, times: int | None = None) -> None:
        """Answer every request from now on, or the next `times`, with this status, until `accept`."""
        self._refusal = (status, text)
        self._refusals = float("inf") if times is None else times

    def refuse_transports(self, *names: str) -> None:
        """From now on there are no such transports, and clients are not told of them: `webSockets` and the like."""
        unknown = set(names) - set(TRANSPORTS)
        if unknown:
            raise ConfigurationError(f"{', '.join(sorted(unknown))}: there are {', '.join(TRANSPORTS)}")
        left = [one for one in TRANSPORTS if one not in names]
        if not left:
            raise ConfigurationError("no transport is left: refuse requests instead")
        self._hubs.offer(left)

    def accept(self) -> None:
        """Refuse nothing any more."""
        self._refusals = 0
        self._hubs.offer(TRANSPORTS)

    # What it has seen ---------------------------------------------------------------------------

    @property
    def calls(self) -> list[Call]:
        """What clients have called, in order, whether there was a function for it or not."""
        return list(self._log.all)

    async def called(self, method: str, *, hub: str | None = None) -> list[Any]:
        """Wait until a client calls `method`, and take the call: its arguments."""
        return await self._log.take(hub, method, self.timeout)

    async def connected(self, count: int = 1) -> None:
        """Wait until there are at least so many clients of hubs."""
        await self._news.until(
            lambda: len(self.connections) >= count or None,
            *(self.timeout, lambda: f"{len(self.connections)} of {count} clients have come {self._what_came()}"),
        )

    def _what_came(self) -> str:
        requests = ", ".join(f"{request.method} {request.path}" for request in self.requests[-3:])
        hubs = ", ".join(hub.name for hub in self._hubs.table.hubs.values()) or "there are none: server.hub(name)"
        asked = f"the newest requests are {requests}" if requests else "nor any request"
        return f"within {self.timeout:g} s, {asked} (hubs: {hubs})"

    async def disconnected(self) -> None:
        """Wait until there are no clients of hubs any more."""
        await self._news.until(
            lambda: not self.connections or None,
            *(self.timeout, lambda: f"{len(self.connections)} clients are still there after {self.timeout:g} s"),
        )

    def __repr__(self) -> str:
        return f"<FakeServer {self.url if self._server is not None else 'not running'}>"

    # What its hubs tell: see Script -------------------------------------------------------------

    async def _called(self, hub: str, call: HubCall) -> None:
        self._log.add(Call(hub, call.method, list(call.arguments), call.context.connection_id))
        delay = self.delay + self._delays.get((hub.lower(), call.method.lower()), 0.0)
        if delay:
            await anyio.sleep(delay)

    def _came(self, connection_id: str) -> None:
        if connection_id not in self.connections:
            self.connections.append(connection_id)
        self._news.tell()

    def _went(self, connection_id: str) -> None:
        if connection_id in self.connections:
            self.connections.remove(connection_id)
        self._news.tell()

    async def _admit(self, request: Request) -> None:
        self.requests.append(request)
        if self._refusals > 0 and self._refusal is not None:
            self._refusals -= 1
            status, text = self._refusal
            raise RemoteProtocolError(text, status=status)


class _Started:
    """What `Server.run` tells that it listens."""

    def __init__(self) -> None:
        self.event = anyio.Event()

    def started(self, value: object = None) -> None:
        self.event.set()
