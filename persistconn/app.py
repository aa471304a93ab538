"""The composition root: what is mounted where, with which keys and limits."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import anyio
import anyio.from_thread
import anyio.lowlevel

from .callbacks import call
from .connection import PersistentConnection, Redirect, Refusal
from .errors import ConfigurationError, PersistconnError
from .host import Host, page_for
from .protocol.reception import ADMITTED, Admission, Route
from .protocol.server import EndpointStatistics, ServerEndpoint
from .settings import Settings
from .tasks import ends_this_task
from .wire.http import Chunk, End, Head, Piece, Request

__all__ = ["App", "FromThread"]

_logger = logging.getLogger("persistconn.app")

Authenticate: TypeAlias = Callable[[Request], "Awaitable[str | None] | str | None"]


class FromThread:
    """Runs things on the app's event loop from a thread that has none."""

    def __init__(self, app: App) -> None:
        self._app = app

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call `function(*args)` on the event loop, await what it gives, and return the result here.

        `app.from_thread.run(echo.broadcast, "hello")` works from any thread while the app is served. Raises
        PersistconnError when it is not, and on the event loop itself, where waiting would last for ever.
        """
        token = self._app._token
        if token is None:
            raise PersistconnError("the app is not running; serve it first")
        if threading.get_ident() == self._app._thread:
            raise PersistconnError("from_thread.run was called on the event loop: await the function instead")

        async def on_the_loop() -> Any:
            result = function(*args)
            return await result if hasattr(result, "__await__") else result

        return anyio.from_thread.run(on_the_loop, token=token)


class App:
    """Connections at their paths, served by `persistconn.serve` or `persistconn serve`.

    `secret_keys` sign and verify tokens: the first signs, all verify. Without them a random key is made, and
    clients cannot come back after a restart. `allowed_origins` lets pages of other origins in (`scheme://host`,
    `scheme://host:port`, `scheme://host:*`). `authenticate` gives the name of the user who makes a request, or None.

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
        dialects: Iterable[str] = ("classic",),
    ) -> None:
        self.settings = settings or Settings()
        """What it was given, or the defaults."""
        self.from_thread = FromThread(self)
        """For threads without an event loop: `app.from_thread.run(connection.send, data)`."""
        if isinstance(secret_keys, str | bytes):
            raise ConfigurationError("secret_keys is a single key: it must be a list of keys")
        self.secret_keys = None if secret_keys is None else [_key(key) for key in secret_keys]
        self._allowed_origins = tuple(allowed_origins) if not isinstance(allowed_origins, str) else allowed_origins
        self._authenticate = authenticate
        self._dialects = _names(dialects)
        Route("", self._dialects)  # so that a wrong name fails here
        self._connections: dict[str, PersistentConnection] = {}
        self._routes: list[Route] = []
        self._asks: set[str] = set()
        """Paths of routes that have code to be awaited before the endpoint sees a request."""
        self._pages: dict[str, tuple[Piece, ...]] = {}
        self._token: anyio.lowlevel.EventLoopToken | None = None
        self._thread: int | None = None
        self._host: Host | None = None
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
        route = Route(path.rstrip("/"), self._dialects if dialects is None else _names(dialects))
        self._endpoint([*self._routes, route])
        self._routes.append(route)
        self._connections[route.path] = connection
        connection._route = route.path
        for hook in ("authorize", "on_negotiate"):  # of its class, or given to the instance
            if getattr(getattr(connection, hook), "__func__", None) is not getattr(PersistentConnection, hook):
                self._asks.add(route.path)

    def add_page(self, path: str, body: bytes, content_type: str, headers: Mapping[str, str] | None = None) -> None:
        """Answer GET and HEAD of exactly `path` with `body`: a page to begin with, a script, an icon."""
        if not path.startswith("/"):
            raise ConfigurationError(f"path is {path!r}: it must begin with /")
        if not isinstance(body, bytes | bytearray | memoryview):  # at once, and not when somebody asks for it
            raise TypeError(f"body is {type(body).__name__}: it must be bytes; encode it as content_type says")
        given = {"X-Content-Type-Options": "nosniff", **(headers or {}), "Content-Type": content_type}
        head = Head(200, tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in given.items()))
        self._pages[path] = (head, Chunk(body), End())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Host]:
        """Run the app's tasks on this event loop; one loop at a time. Servers do this for you."""
        if self._host is not None:
            raise PersistconnError("the app is running already: one App serves one event loop")
        asks = bool(self._asks) or self._authenticate is not None
        host = Host(self._endpoint(), self._connections, self._admit, self._is_open if asks else None, self._pages)
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
            self._host = self._token = self._thread = None
            for connection in self._connections.values():
                del connection._outlet

    def health(self) -> dict[str, object]:
        """Whether the app runs, and how many connections it has."""
        if self._host is None:
            return {"status": "stopped", "connections": 0}
        return {"status": "running", "connections": self._host.endpoint.statistics().connections}

    def statistics(self) -> EndpointStatistics:
        """Connections, ends by reason, limits met, what the rings hold. Raises PersistconnError when not running."""
        if self._host is None:
            raise PersistconnError("the app is not running: there are no statistics")
        return self._host.endpoint.statistics()

    # What the host asks -------------------------------------------------------------------------

    def _endpoint(self, routes: Sequence[Route] | None = None) -> ServerEndpoint:
        return ServerEndpoint(
            self._routes if routes is None else routes,
            self.settings,
            secret_keys=self.secret_keys if self.secret_keys is not None else [secrets.token_bytes(32)],
            entropy=secrets.token_bytes,
            wall=time.time() - time.monotonic(),
            allowed_origins=self._allowed_origins,
        )

    def _is_open(self, request: Request) -> bool:
        """No code of the user has to be awaited for this request."""
        if page_for(request, self._pages) is not None:
            return True
        if self._authenticate is not None:
            return False
        route = self._host.endpoint.route_of(request) if self._host is not None else None
        return route is None or route.path not in self._asks

    async def _admit(self, request: Request) -> tuple[Request, Admission]:
        route = self._host.endpoint.route_of(request) if self._host is not None else None
        if route is None:
            return request, ADMITTED
        owner = self._connections[route.path]
        try:
            if self._authenticate is not None:
                request = request.with_user(await call(self._authenticate, request))
            if not await call(owner.authorize, request):
                return request, Admission(status=401 if request.user is None else 403)
            if request.path.rstrip("/").lower().endswith("/negotiate"):
                return request, _admission(await call(owner.on_negotiate, request))
        except BaseException as error:
            if ends_this_task(error):
                raise
            _logger.exception("authenticating or authorizing %r failed", request)
            return request, Admission(status=500)
        return request, ADMITTED


def _key(key: str | bytes) -> bytes:
    return key.encode() if isinstance(key, str) else key


def _names(dialects: Iterable[str]) -> frozenset[str]:
    return frozenset((dialects,) if isinstance(dialects, str) else dialects)


def _admission(answer: Redirect | Refusal | None) -> Admission:
    match answer:
        case Redirect():
            return Admission(redirect_url=answer.url, access_token=answer.access_token)
        case Refusal():
            return Admission(error=answer.message)
        case _:
            return ADMITTED
