"""The composition root: what is mounted where, with which keys and limits."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.lowlevel

from .connection import PersistentConnection
from .errors import ConfigurationError, PersistconnError
from .from_thread import FromThread
from .gate import Authenticate, Gate
from .host import Host
from .outlet import Outlet, Unserved
from .page import Body, HealthPage, Page
from .protocol.reception import TRANSPORTS, Route
from .protocol.server import ServerEndpoint
from .protocol.statistics import OnEnded
from .settings import Settings
from .statistics import Endings, Statistics, statistics_of
from .tasks import keep_house
from .wire.http import Request

if TYPE_CHECKING:
    from .drivers.asgi import AsgiApplication, Receive, Scope, Send
    from .hubs.clients import HubClients, HubGroups, PageT
    from .hubs.filters import Filter
    from .hubs.hub import Hub
    from .hubs.messagepack_values import Conventions
    from .hubs.mount import MountedHubs

__all__ = ["App", "FromThread"]

_logger = logging.getLogger("persistconn.app")


class App:
    """Connections at their paths, served by `persistconn.serve` or `persistconn serve`; or an ASGI 3 application.

    `secret_keys` sign and verify tokens: the first signs, all verify. Without them a random key is made, and
    clients cannot come back after a restart. `allowed_origins` lets pages of other origins in (`scheme://host`,
    `scheme://host:port`, `scheme://host:*`). `authenticate` gives the name of the user who makes a request, or None; or
    an `Identity`, where that is sure for some time only. `dialects` and `transports` say what clients may speak and
    how, the best transport first; `add_connection` can narrow the dialects.

    Raises ConfigurationError for whatever cannot work, saying which and why.

    >>> from persistconn import App, Settings
    >>> app = App(settings=Settings(disconnect_timeout=60), secret_keys=["a secret of 16 or more"])
    """

    def __init__(
        self,
        *,
        settings: Settings | None = None,
        secret_keys: Sequence[str | bytes] | None = None,
        allowed_origins: Sequence[str] = (),
        authenticate: Authenticate | None = None,
        dialects: Iterable[str] = ("classic", "aspnetcore"),
        transports: Iterable[str] = TRANSPORTS,
    ) -> None:
        given: object = settings
        if given is not None and not isinstance(given, Settings):
            raise ConfigurationError(
                f"settings is {type(given).__name__}: it must be Settings, such as Settings(keep_alive=5)"
            )
        self.settings = settings or Settings()
        """What it was given, or the defaults."""
        self.from_thread = FromThread(self)
        """For threads without an event loop: `app.from_thread.run(connection.send, data)`."""
        if isinstance(secret_keys, str | bytes):
            raise ConfigurationError("secret_keys is a single key: it must be a list of keys")
        self.secret_keys = None if secret_keys is None else [_key(key) for key in secret_keys]
        self._allowed_origins = tuple(allowed_origins) if not isinstance(allowed_origins, str) else allowed_origins
        self._dialects = _names(dialects)
        self._transports = (transports,) if isinstance(transports, str) else tuple(transports)
        Route("", self._dialects, transports=self._transports)  # so that a wrong name fails here
        self._connections: dict[str, PersistentConnection] = {}
        self._routes: list[Route] = []
        self._pages: dict[str, Page] = {}
        self._gate = Gate(self._connections, self._pages, authenticate)
        self._endings = Endings()
        self._hubs: dict[str, MountedHubs] = {}
        self._token: anyio.lowlevel.EventLoopToken | None = None
        self._thread: int | None = None
        self._host: Host | None = None
        self._house: tuple[object, anyio.Event] | None = None
        """Who runs the app where nobody else does, and whether that has begun."""
        self._asgi: AsgiApplication | None = None
        self._endpoint()  # so that a wrong setting fails here

    def add_connection(
        self, path: str, connection: PersistentConnection, *, dialects: Iterable[str] | None = None
    ) -> None:
        """Mount a PersistentConnection at `path` and everything below it."""
        given: object = connection
        if not isinstance(given, PersistentConnection):
            hint = " (give an instance, not the class)" if isinstance(given, type) else ""
            raise ConfigurationError(f"{given!r} is no PersistentConnection{hint}")
        if connection._route or connection in self._connections.values():
            raise ConfigurationError(f"{connection!r} is mounted already: give each path an instance of its own")
        if self._host is not None:
            raise ConfigurationError("the app is running: mount connections before it is served")
        route = Route(
            path.rstrip("/"),
            self._dialects if dialects is None else _names(dialects),
            names=frozenset(connection.names),
            takes_parts=connection.takes_parts,
            resumable=connection.resumable,
            transports=self._transports,
        )
        self._endpoint([*self._routes, route])
        self._routes.append(route)
        self._connections[route.path] = connection
        connection._route = route.path
        connection._outlet = cast(Outlet, Unserved())
        self._gate.learn(route.path, connection)

    def add_page(
        self, path: str, body: bytes | Body, content_type: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """Answer GET and HEAD of exactly `path` with `body`: a page to begin with, a script, an icon.

        `body` is bytes, or a function that makes them for a request. Browsers ask whether what they have is still
        good (ETag), and get it again only when it is not.
        """
        if not path.startswith("/"):
            raise ConfigurationError(f"path is {path!r}: it must begin with /")
        if not callable(body) and not isinstance(body, bytes | bytearray | memoryview):
            raise TypeError(f"body is {type(body).__name__}: it must be bytes; encode it as content_type says")
        self._pages[path] = Page(body, content_type, headers or {})

    def add_health(self, path: str = "/health") -> None:
        """Answer GET and HEAD of exactly `path` with `health()` as JSON: 200 while the app runs, 503 while it drains.

        For load balancers: give them time to see it with `Settings(drain_notice=…)`.
        """
        if not path.startswith("/"):
            raise ConfigurationError(f"path is {path!r}: it must begin with /")
        self._pages[path] = HealthPage(self.health)

    def add_hubs(
        self,
        path: str,
        *hubs: type[Hub[Any]],
        factory: Callable[..., Hub[Any]] | None = None,
        filters: Iterable[Filter] = (),
        user_id: Callable[[Request], str | None] | None = None,
        roles: Callable[[Request], Collection[str]] | None = None,
        javascript: bool = True,
        messagepack: Conventions | None = None,
        dialects: Iterable[str] | None = None,
    ) -> None:
        """Mount hub classes at `path`; one connection of a client serves all of them.

        `factory(hub_class)` makes the instances, one per call; without it the class does, with what its constructor
        `Depends` on. `filters` are functions
        around every call, the first outermost: `async def f(call: HubCall, proceed) -> object`. `user_id(request)`
        says which user a connection belongs to in `clients.user(…)`, instead of `request.user`; `roles(request)`
        which roles it has, for `@authorize(roles=…)`; else Starlette's AuthenticationMiddleware does. The generated
        script is at `path/hubs` and `path/js`; without `javascript` it says that it has been disabled.
        `messagepack` says how values are written to clients that speak MessagePack: those of .NET expect
        `hubs.DOTNET`.

        Raises ConfigurationError for names that collide and for parameters that cannot be read from JSON.
        """
        from .hubs.messagepack_values import PYTHON
        from .hubs.mount import mount_hubs

        self._hubs[path.rstrip("/")] = mount_hubs(
            *(self, path.rstrip("/"), hubs),
            factory=factory,
            filters=filters,
            user_id=user_id,
            roles=roles,
            javascript=javascript,
            messagepack=PYTHON if messagepack is None else messagepack,
            dialects=self._dialects if dialects is None else _names(dialects),
        )

    def clients(self, hub: type[Hub[PageT]]) -> HubClients[PageT]:
        """The clients of a hub, from outside: `await app.clients(MyHub).all.alert_message("hello")`."""
        return self._mount_of(hub).clients(hub)

    def hub_groups(self, hub: type[Hub[Any]]) -> HubGroups:
        """The groups of a hub, from outside: `await app.hub_groups(MyHub).join(connection_id, "room")`."""
        return self._mount_of(hub).groups(hub)

    def hub_scripts(self) -> dict[str, str]:
        """The generated JavaScript of each mount of hubs, by its path."""
        return {path: mount.script("") for path, mount in self._hubs.items()}

    def _mount_of(self, hub: type[Hub[Any]]) -> MountedHubs:
        mounts = [mount for mount in self._hubs.values() if mount.has(hub)]
        if len(mounts) > 1:
            paths = " and ".join(mount.path for mount in mounts)
            raise ConfigurationError(f"{hub.__name__} is mounted at {paths}: mount a subclass of it at one of them")
        if mounts:
            return mounts[0]
        raise ConfigurationError(f"{hub!r} is not mounted here: app.add_hubs(path, {getattr(hub, '__name__', hub)})")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Host]:
        """Run the app's tasks on this event loop; one loop at a time. Servers do this for you."""
        if self._host is not None:
            raise PersistconnError("the app is running already: one App serves one event loop")
        gate, endpoint = self._gate, self._endpoint()
        gate.route_of = endpoint.route_of
        admit_nowait = gate.admit_nowait if gate.is_needed else None
        host = Host(endpoint, self._connections, gate.admit, admit_nowait, self._pages)
        if self.secret_keys is None:
            _logger.warning("no secret_keys: tokens die with this process, and clients cannot come back after it")
        for connection in self._connections.values():
            connection._outlet = host
        self._host = host
        self._token = anyio.lowlevel.current_token()
        self._thread = threading.get_ident()
        try:
            async with host.running():
                yield host
        finally:
            if self._host is host:
                self._forget()

    def _forget(self) -> None:
        self._host = self._token = self._thread = self._house = None
        for connection in self._connections.values():
            connection._outlet = cast(Outlet, Unserved())

    @property
    def authenticates(self) -> bool:
        """It was given `authenticate`, which says who makes a request."""
        return self._gate.authenticate is not None

    def here(self) -> Host | None:
        """The host, when this event loop runs the app; for servers. Raises PersistconnError when another one does."""
        if self._host is None or self._token is None:
            return None
        if self._token != anyio.lowlevel.current_token():
            if not getattr(self._token.native_token, "is_closed", bool)():
                raise PersistconnError("the app runs on another event loop: one App serves one loop, make one for each")
            self._forget()  # that loop was closed while its tasks had not ended
        return self._host

    async def at_home(self) -> Host:
        """The host of this event loop. Where nobody runs the app, a task that lasts as long as the loop does.

        Raises PersistconnError when another event loop runs it.
        """
        host = self.here()
        if host is None:
            if self._house is None:
                begun = anyio.Event()
                self._house = (keep_house(self._keep_house, begun), begun)
            await self._house[1].wait()
            host = self.here()
            if host is None:
                raise PersistconnError("the app could not be started; the log says why")
        return host

    async def _keep_house(self, begun: anyio.Event) -> None:
        left = anyio.Event()
        try:
            async with self.running() as host, self._as_asgi().stay.until_told(host, left.set):
                begun.set()
                await left.wait()
        finally:
            begun.set()
            self._house = None

    @asynccontextmanager
    async def lifespan(self, parent: object = None) -> AsyncIterator[None]:
        """Run the app as long as another application lives: `FastAPI(lifespan=app.lifespan)`.

        Frameworks keep lifespan events from what is mounted in them. The app works without; with them it runs from the
        beginning, and clients are told when the server goes without a signal, too.
        """
        stay = self._as_asgi().stay
        async with self.running() as host, stay.until_told(host):
            yield
            await stay.end(host)

    async def drain(self) -> None:
        """Tell all clients, and newcomers, to come back later; wait until they are told and `on_disconnected` has run.

        An ASGI server that gets a signal needs no such call. It is for all other ways to end one: await this, then tell
        the server. It takes at most about `drain_timeout` seconds, and there is no way back. Raises PersistconnError
        when the app is not running.
        """
        host = self.here()
        if host is None:
            raise PersistconnError("the app is not running: there is nobody to tell")
        await self._as_asgi().stay.end(host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The app as an ASGI 3 application: `uvicorn module:app`, or mounted in another, at any path.

        Without lifespan events the first request starts it, and it lasts as long as the event loop.
        """
        await self._as_asgi()(scope, receive, send)

    def _as_asgi(self) -> AsgiApplication:
        if self._asgi is None:
            from .drivers.asgi import AsgiApplication

            self._asgi = AsgiApplication(self)
        return self._asgi

    def health(self) -> dict[str, object]:
        """Whether the app runs (`status`: `running`, `draining` or `stopped`), and how many connections it has.

        >>> from persistconn import App
        >>> App(secret_keys=["a secret of 16 or more"]).health()
        {'status': 'stopped', 'connections': 0}
        """
        if self._host is None:
            return {"status": "stopped", "connections": 0}
        status = "draining" if self._host.draining else "running"
        return {"status": status, "connections": self._host.endpoint.connections}

    def statistics(self) -> Statistics:
        """Connections, traffic and ends by transport, limits met, what the rings hold, calls of hubs, tasks.

        Nothing is counted for it that costs more than an addition; asking takes about 10 ms with 100,000 connections.
        Raises PersistconnError when the app is not running.
        """
        if self._host is None:
            raise PersistconnError("the app is not running: there are no statistics")
        hubs = {path: mount.calls() for path, mount in self._hubs.items()}
        return statistics_of(self._host.endpoint.statistics(), hubs, self._host.tasks)

    def on_connection_ended(self, function: OnEnded) -> None:
        """Call `function(ended)` for every connection that had a transport and has ended.

        `ended` says which, why, on which dialect and transport, and after how many seconds. It is called on the event
        loop, before `on_disconnected`, and must be quick: it is there for metrics.
        """
        self._endings.functions.append(function)

    # What the host asks -------------------------------------------------------------------------

    def _endpoint(self, routes: Sequence[Route] | None = None) -> ServerEndpoint:
        return ServerEndpoint(
            self._routes if routes is None else routes,
            self.settings,
            secret_keys=self.secret_keys if self.secret_keys is not None else [secrets.token_bytes(32)],
            entropy=secrets.token_bytes,
            wall=time.time() - time.monotonic(),
            allowed_origins=self._allowed_origins,
            on_ended=self._endings,
        )


def _key(key: str | bytes) -> bytes:
    return key.encode() if isinstance(key, str) else key


def _names(dialects: Iterable[str]) -> frozenset[str]:
    return frozenset((dialects,) if isinstance(dialects, str) else dialects)
