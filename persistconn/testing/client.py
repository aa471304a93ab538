"""A client for tests: any transport, either dialect, through the real server, without a socket."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeAlias, TypeVar
from urllib.parse import urlencode

import anyio

from .. import App, ConfigurationError, ConnectionClosed, PersistconnError, Request
from ..drivers.access import AccessLog
from ..drivers.state import ServerState
from ..hubs import Hub
from ..hubs.calls import encode
from ..tasks import open_tasks
from .address import Address
from .aspnetcore_speech import AspNetCoreSpeech
from .aspnetcore_wire import AspNetCoreWire
from .call_log import Call
from .classic_speech import ClassicSpeech
from .classic_wire import ClassicWire
from .client_hub import ClientHub
from .dialing import Dialer, Wire
from .hub_calls import HubSpeech
from .waiting import Eavesdropper, News, settle

if TYPE_CHECKING:
    from ..connection import Connection
    from ..host import Host
    from .blocking import BlockingClient

__all__ = ["Client", "Dialect", "Protocol", "Transport"]

Transport: TypeAlias = Literal["webSockets", "serverSentEvents", "longPolling", "foreverFrame"]
Dialect: TypeAlias = Literal["classic", "aspnetcore"]
Protocol: TypeAlias = Literal["json", "messagepack"]
R = TypeVar("R")
_TRANSPORTS: Final = {
    "classic": ("webSockets", "serverSentEvents", "longPolling", "foreverFrame"),
    "aspnetcore": ("webSockets", "serverSentEvents", "longPolling"),
}


class Client:
    """A client of an app in this process: nothing listens, and all that the server does is what it does for anyone.

    It connects when its block begins, and leaves when it ends. An app that does not run is run for so long; run it
    yourself, with `async with app.running():`, where clients in several tasks come and go. In a plain `with`, the app
    and its client run in a thread, and the same methods need no `await`.

    `path` is where the app has mounted something. Where that is hubs, it is a client of all of them, or of `hub`
    (a name or a class; ASP.NET Core clients have one). `query` is added to the URL of every request, `headers` to each
    of them, and `user` is who makes them, whatever `App(authenticate=…)` says. `timeout` is how many seconds it waits
    for anything; what takes longer raises TimeoutError, which says what came instead. `protocol` is what ASP.NET Core
    clients of hubs speak; `stateful_reconnect` lets them ask for it.

    >>> import anyio
    >>> from persistconn import App, PersistentConnection
    >>> from persistconn.testing import Client
    >>> class Echo(PersistentConnection):
    ...     async def on_received(self, connection, data):
    ...         await connection.send(data)
    >>> app = App(secret_keys=["a secret of 16 or more"])
    >>> app.add_connection("/echo", Echo())
    >>> async def main():
    ...     async with Client(app, "/echo") as client:
    ...         await client.send("hi")
    ...         return await client.receive()
    >>> anyio.run(main)
    'hi'
    """

    def __init__(
        self,
        app: App,
        path: str = "/",
        *,
        hub: str | type[Hub[Any]] | None = None,
        transport: Transport = "webSockets",
        dialect: Dialect = "classic",
        protocol: Protocol = "json",
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | str = "",
        user: str | None = None,
        stateful_reconnect: bool = False,
        timeout: float = 5.0,
    ) -> None:
        if dialect not in _TRANSPORTS:
            raise ConfigurationError(f"dialect is {dialect!r}: it is 'classic' or 'aspnetcore'")
        if transport not in _TRANSPORTS[dialect]:
            raise ConfigurationError(f"transport is {transport!r}: {dialect} has {', '.join(_TRANSPORTS[dialect])}")
        if protocol not in ("json", "messagepack"):
            raise ConfigurationError(f"protocol is {protocol!r}: it is 'json' or 'messagepack'")
        self.app = app
        self.timeout = timeout
        """Seconds to wait for anything."""
        self.recovered = True
        """Nothing was lost in the newest `reconnect`."""
        self.missed: int | None = 0
        """How many messages were; None when nobody can know."""
        self._at = Address(app, path, hub, dialect)
        self._transport: Transport = transport
        self._dialect: Dialect = dialect
        self._protocol = protocol
        self._headers = dict(headers or {})
        self._query = query if isinstance(query, str) else urlencode(query)
        self._user = user
        self._stateful = stateful_reconnect
        self._news = News()
        self._inbox: deque[Any] = deque()
        self._ended: Exception | None = None
        self._stack = AsyncExitStack()
        self._threads = ExitStack()
        self._host: Host | None = None
        self._wire: Wire | None = None
        self._speech: HubSpeech[Any] | None = None

    # Its life -----------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._wire is not None:
            raise PersistconnError("a Client connects once: make another one")
        async with AsyncExitStack() as stack:
            stack.enter_context(Eavesdropper(self._news))
            host = self._host = await self._host_of_app(stack)
            state = ServerState(host, log=AccessLog(enabled=False))
            tasks = await stack.enter_async_context(open_tasks())
            state.spawn = lambda call, *args: _nothing(tasks.spawn(call, *args))
            dialer = Dialer(state, tasks, self._at.path, self._headers, self._query, self._user)
            self._connect(dialer)
            with anyio.move_on_after(self.timeout) as scope, self._at.explained():
                await (self._live_wire if self._speech is None else self._speech).start()
            if scope.cancelled_caught:
                raise TimeoutError(f"the server has not let the client in within {self.timeout:g} s")
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        async with self._stack:
            if error is None or isinstance(error, Exception):
                await self.close()
        if error is None and self._speech is not None and self._speech.failures:
            raise self._speech.failures[0]  # of a function that the server called: nobody else would hear of it

    def __enter__(self) -> BlockingClient:
        from .blocking import BlockingClient, portal_of

        with ExitStack() as stack:
            portal = stack.enter_context(portal_of(self.app))
            stack.enter_context(portal.wrap_async_context_manager(self))
            self._threads = stack.pop_all()
        return BlockingClient(self, portal)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._threads.__exit__(kind, error, traceback)

    async def _host_of_app(self, stack: AsyncExitStack) -> Host:
        app = self.app
        if app._gate.authenticate is not None and self._user is not None:
            _believe_clients_with_a_user(app)
        if app._host is not None:
            if app._thread != threading.get_ident():
                raise PersistconnError("the app runs in another thread: a Client has to be in its event loop")
            return app._host
        host = await stack.enter_async_context(app.running())
        stack.push_async_callback(self._let_the_app_finish, host)
        return host

    async def _let_the_app_finish(self, host: Host) -> None:
        """What was left is to hear of it, as when a server shuts down."""
        with anyio.move_on_after(self.timeout):
            host.drain()
            await host.drained()

    def _connect(self, dialer: Dialer) -> None:
        news, hubs, transport = self._news, self._at.hubs, self._transport
        if self._dialect == "classic":
            speech = ClassicSpeech(dialer.tasks, news) if hubs else None
            hear, answered = (speech.hear, speech.hear_answer) if speech else (self._hear, self._hear)
            wire = ClassicWire(dialer, transport, hear, self._end, answered, hubs)
            if speech:
                speech.wire = wire
            self._wire, self._speech = wire, speech
        else:
            words = AspNetCoreSpeech(dialer.tasks, news, hubs[0], self._protocol, self.timeout) if hubs else None
            line = AspNetCoreWire(
                dialer, transport, words.hear if words else self._hear, self._end, stateful=self._stateful
            )
            if words:
                words.wire = line
            self._wire, self._speech = line, words

    @property
    def _live_wire(self) -> Wire:
        if self._wire is None:
            raise PersistconnError("the client is not connected: `async with Client(…) as client:`")
        return self._wire

    @property
    def _hub_speech(self) -> HubSpeech[Any]:
        self._live_wire  # noqa: B018  # complains
        if self._speech is None:
            raise PersistconnError(f"there are no hubs at {self._at.path!r}: use send and receive")
        return self._speech

    async def close(self) -> None:
        """Leave, and say goodbye: `on_disconnected(closed)`. The end of the block does it, too."""
        if self._ended is None:
            self._ended = ConnectionClosed("the client has left")
            await (self._live_wire if self._speech is None else self._speech).leave()
            self._lose(self._ended)
            await settle()

    def cut(self) -> None:
        """The line is lost, and nobody says goodbye: what is sent meanwhile waits for `reconnect`."""
        self._live_wire.cut()

    async def reconnect(self) -> bool:
        """Come back after `cut`, or after the server has ended the connection. True: as the same, and nothing was lost.

        Says in `recovered` and `missed` what the server knows of that. A client of ASP.NET Core without stateful
        reconnect comes back as another, unless it polls. Raises Refused if the server does not let it in.
        """
        wire, id = self._live_wire, self._live_wire.id
        wire.cut()
        with anyio.move_on_after(self.timeout) as scope:
            await (wire if self._speech is None else self._speech).come_back()
        if scope.cancelled_caught:
            raise TimeoutError(f"the server has not let the client in again within {self.timeout:g} s")
        self._ended = None
        await settle()
        self._check_open()
        connection = self._server_side()
        if wire.id != id:
            self.recovered, self.missed = False, None
        elif connection is not None:
            self.recovered, self.missed = connection.recovered, connection.missed
        return self.recovered

    def _server_side(self) -> Connection | None:
        lifetime = self._host._callbacks._lifetimes.get(self.id) if self._host is not None else None
        return None if lifetime is None else lifetime.connection

    async def settle(self) -> None:
        """Let everything happen that waits for nothing but its turn: then what has not come does not come by itself."""
        await settle()

    @property
    def id(self) -> str:
        """The id of its connection, as the server knows it."""
        return self._live_wire.id

    @property
    def is_connected(self) -> bool:
        """It has a line to the server."""
        return self._wire is not None and self._wire.is_open and self._wire.line is not None

    def __repr__(self) -> str:
        return f"<Client {self._at.path} {self._dialect} {self._transport}>"

    # Messages -----------------------------------------------------------------------------------

    async def send(self, data: Any, /, *arguments: Any) -> None:
        """Send text, bytes (ASP.NET Core), or anything else as JSON.

        A client of hubs calls the method `data` instead, and wants no answer. When this returns, the server has done
        with it all that waits for nothing.
        """
        if self._at.hubs:
            await self.hub().send(data, *arguments)
            return
        if arguments:
            raise TypeError("send takes one message; there are no hubs here")
        self._check_open()
        await self._live_wire.say(data if isinstance(data, str | bytes) else encode(data).decode())
        await settle()

    async def receive(self) -> Any:
        """The next message: on classic a value, on ASP.NET Core text or bytes.

        Raises ConnectionClosed when the server has ended the connection, TimeoutError when nothing comes.
        """
        self._check_kind()
        self._live_wire  # noqa: B018  # complains
        found = await self._news.until(
            lambda: self._inbox or self._ended, self.timeout, lambda: f"no message has come within {self.timeout:g} s"
        )
        if isinstance(found, Exception):
            raise found
        return self._inbox.popleft()

    @property
    def received(self) -> list[Any]:
        """Messages that have come and that nobody has taken yet."""
        self._check_kind()
        return list(self._inbox)

    async def __aiter__(self) -> AsyncGenerator[Any, None]:
        """Messages, until the connection ends."""
        while True:
            try:
                message = await self.receive()
            except ConnectionClosed:
                return
            yield message

    def _hear(self, message: Any) -> None:
        if isinstance(message, bytes) and self._transport == "longPolling":  # which cannot tell text from bytes
            try:
                message = message.decode()
            except UnicodeDecodeError:
                pass
        self._inbox.append(message)
        self._news.tell()

    def _end(self, error: Exception) -> None:
        if self._ended is None:
            self._ended = error
        self._lose(error)

    def _lose(self, error: Exception) -> None:
        if self._speech is not None:
            self._speech.lose(error)
        self._news.tell()

    def _check_kind(self) -> None:
        if self._at.hubs:
            raise PersistconnError('this is a client of hubs: use `await client.called("name")`, and `client.calls`')

    def _check_open(self) -> None:
        if self._ended is not None:
            raise self._ended

    # Hubs ---------------------------------------------------------------------------------------

    def hub(self, name: str | type[Hub[Any]] | None = None) -> ClientHub:
        """One of the hubs that it is a client of; without a name the only one."""
        return ClientHub(self, self._hub_speech, self._at.hub_named(name))

    async def invoke(
        self,
        method: str,
        /,
        *arguments: Any,
        returns: type[R] | Any = Any,
        progress: Callable[[Any], object] | None = None,
    ) -> Any:
        """Call a method of the only hub, and wait for its result; see `ClientHub.invoke`."""
        return await self.hub().invoke(method, *arguments, returns=returns, progress=progress)

    def stream(self, method: str, /, *arguments: Any, returns: type[R] | Any = Any) -> AsyncGenerator[Any, None]:
        """The items of a method of the only hub, as they come; see `ClientHub.stream`."""
        return self.hub().stream(method, *arguments, returns=returns)

    def on(self, name: str, function: Callable[..., Any] | None = None) -> Callable[..., Any]:
        """Let the only hub call `function`; see `ClientHub.on`."""
        return self.hub().on(name, function)

    async def called(self, name: str) -> list[Any]:
        """Wait until the server calls `name`, whichever hub does, and take the call: its arguments."""
        return await self._hub_speech.log.take(None, name, self.timeout, self._why_it_ended)

    @property
    def calls(self) -> list[Call]:
        """All that the server has called, in order."""
        return list(self._hub_speech.log.all)

    def _why_it_ended(self) -> Exception | None:
        return self._ended


def _nothing(_: object) -> None:
    pass


def _believe_clients_with_a_user(app: App) -> None:
    """Whoever authenticates for this app is not asked about requests that have a user: those of a Client."""
    asked: Any = app._gate.authenticate
    if getattr(asked, "believes_clients", False):
        return

    async def authenticate(request: Request) -> Any:
        from ..callbacks import call

        return request.user if request.user is not None else await call(asked, request)

    authenticate.believes_clients = True  # type: ignore[attr-defined]
    app._gate.authenticate = authenticate
