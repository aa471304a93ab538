"""The same for tests without an event loop: the fake server and the client in a thread, behind methods that wait."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import aclosing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from anyio.from_thread import BlockingPortal, start_blocking_portal

from ..app import App
from ..errors import ConnectionClosed
from ..wire.http import Request
from .call_log import Call
from .client import Client
from .client_hub import ClientHub

if TYPE_CHECKING:
    from .fake import FakeHub, FakeServer

__all__ = ["BlockingClient", "BlockingClientHub", "BlockingFakeHub", "BlockingFakeServer", "portal_of"]


_portals: WeakKeyDictionary[App, BlockingPortal] = WeakKeyDictionary()
"""The thread in which each app runs."""


@contextmanager
def portal_of(app: App) -> Iterator[BlockingPortal]:
    """The way into the thread in which the clients of an app run: the first begins one."""
    portal = _portals.get(app)
    if portal is not None:
        yield portal
        return
    with start_blocking_portal() as portal:
        _portals[app] = portal
        try:
            yield portal
        finally:
            del _portals[app]


class BlockingClientHub:
    """One hub of a `BlockingClient`; see `ClientHub`."""

    def __init__(self, hub: ClientHub, portal: BlockingPortal) -> None:
        self.name = hub.name
        self._hub = hub
        self._portal = portal

    def send(self, method: str, /, *arguments: Any) -> None:
        """See ClientHub."""
        self._portal.call(self._hub.send, method, *arguments)

    def invoke(
        self, method: str, /, *arguments: Any, returns: Any = Any, progress: Callable[[Any], object] | None = None
    ) -> Any:
        """See ClientHub."""
        return self._portal.call(partial(self._hub.invoke, method, *arguments, returns=returns, progress=progress))

    def stream(self, method: str, /, *arguments: Any, returns: Any = Any) -> list[Any]:
        """All items of a method, once the last has come."""

        async def collect() -> list[Any]:
            async with aclosing(self._hub.stream(method, *arguments, returns=returns)) as items:
                return [item async for item in items]

        return self._portal.call(collect)

    def on(self, name: str, function: Callable[..., Any] | None = None) -> Callable[..., Any]:
        """See ClientHub. The function runs in the thread of the event loop."""
        return self._hub.on(name, function)

    def called(self, name: str) -> list[Any]:
        """See ClientHub."""
        return self._portal.call(self._hub.called, name)

    @property
    def calls(self) -> list[Call]:
        """See ClientHub."""
        return self._portal.call(lambda: self._hub.calls)

    @property
    def state(self) -> dict[str, Any]:
        """See ClientHub."""
        return self._hub.state


class BlockingClient:
    """What a plain `with Client(…) as client:` gives; see `Client`."""

    def __init__(self, client: Client, portal: BlockingPortal) -> None:
        self._client = client
        self._portal = portal

    def send(self, data: Any, /, *arguments: Any) -> None:
        """See Client."""
        self._portal.call(self._client.send, data, *arguments)

    def receive(self) -> Any:
        """See Client."""
        return self._portal.call(self._client.receive)

    @property
    def received(self) -> list[Any]:
        """See Client."""
        return self._portal.call(lambda: self._client.received)

    @property
    def timeout(self) -> float:
        """See Client."""
        return self._client.timeout

    @timeout.setter
    def timeout(self, seconds: float) -> None:
        self._client.timeout = seconds

    def __iter__(self) -> Generator[Any, None, None]:
        """Messages, until the connection ends."""
        while True:
            try:
                message = self.receive()
            except ConnectionClosed:
                return
            yield message

    def hub(self, name: str | None = None) -> BlockingClientHub:
        """See Client."""
        return BlockingClientHub(self._client.hub(name), self._portal)

    def invoke(
        self, method: str, /, *arguments: Any, returns: Any = Any, progress: Callable[[Any], object] | None = None
    ) -> Any:
        """See Client."""
        return self.hub().invoke(method, *arguments, returns=returns, progress=progress)

    def stream(self, method: str, /, *arguments: Any, returns: Any = Any) -> list[Any]:
        """All items of a method of the only hub, once the last has come."""
        return self.hub().stream(method, *arguments, returns=returns)

    def on(self, name: str, function: Callable[..., Any] | None = None) -> Callable[..., Any]:
        """See Client. The function runs in the thread of the event loop."""
        return self._client.on(name, function)

    def called(self, name: str) -> list[Any]:
        """See Client."""
        return self._portal.call(self._client.called, name)

    @property
    def calls(self) -> list[Call]:
        """See Client."""
        return self._portal.call(lambda: self._client.calls)

    def cut(self) -> None:
        """See Client."""
        self._portal.call(self._client.cut)

    def reconnect(self) -> bool:
        """See Client."""
        return self._portal.call(self._client.reconnect)

    def settle(self) -> None:
        """See Client."""
        self._portal.call(self._client.settle)

    def close(self) -> None:
        """See Client."""
        self._portal.call(self._client.close)

    @property
    def id(self) -> str:
        """See Client."""
        return self._client.id

    @property
    def recovered(self) -> bool:
        """See Client."""
        return self._client.recovered

    @property
    def missed(self) -> int | None:
        """See Client."""
        return self._client.missed

    @property
    def is_connected(self) -> bool:
        """See Client."""
        return self._client.is_connected

    def __repr__(self) -> str:
        return repr(self._client)


class BlockingFakeHub:
    """One hub of a `BlockingFakeServer`; see `FakeHub`."""

    def __init__(self, hub: FakeHub, portal: BlockingPortal) -> None:
        self.name = hub.name
        self._hub = hub
        self._portal = portal

    @property
    def url(self) -> str:
        """See FakeHub."""
        return self._hub.url

    def on(self, method: str, function: Callable[..., Any] | None = None, *, delay: float = 0.0) -> Callable[..., Any]:
        """See FakeHub. The function runs in the thread of the server."""
        if function is None:
            return lambda given: self.on(method, given, delay=delay)
        return self._portal.call(partial(self._hub.on, method, function, delay=delay))

    def fails(self, method: str, message: str, data: Any = None) -> None:
        """See FakeHub."""
        self._portal.call(self._hub.fails, method, message, data)

    def push(self, method: str, /, *arguments: Any, to: str | None = None) -> None:
        """See FakeHub."""
        self._portal.call(partial(self._hub.push, method, *arguments, to=to))


class BlockingFakeServer:
    """What a plain `with fake_server() as server:` gives; see `FakeServer`."""

    def __init__(self, server: FakeServer, portal: BlockingPortal) -> None:
        self._server = server
        self._portal = portal

    @property
    def url(self) -> str:
        """See FakeServer."""
        return self._server.url

    @property
    def port(self) -> int:
        """See FakeServer."""
        return self._server.port

    @property
    def delay(self) -> float:
        """See FakeServer."""
        return self._server.delay

    @delay.setter
    def delay(self, seconds: float) -> None:
        self._server.delay = seconds

    @property
    def timeout(self) -> float:
        """See FakeServer."""
        return self._server.timeout

    @timeout.setter
    def timeout(self, seconds: float) -> None:
        self._server.timeout = seconds

    def hub(self, name: str) -> BlockingFakeHub:
        """See FakeServer."""
        return BlockingFakeHub(self._portal.call(self._server.hub, name), self._portal)

    def push(self, hub: str, method: str, /, *arguments: Any, to: str | None = None) -> None:
        """See FakeServer."""
        self._portal.call(partial(self._server.push, hub, method, *arguments, to=to))

    def invoke(self, hub: str, method: str, /, *arguments: Any, to: str | None = None, returns: Any = Any) -> Any:
        """See FakeServer."""
        return self._portal.call(partial(self._server.invoke, hub, method, *arguments, to=to, returns=returns))

    def drop(self, connection_id: str | None = None) -> None:
        """See FakeServer."""
        self._portal.call(self._server.drop, connection_id)

    def end(self, connection_id: str | None = None, *, error: str = "", allow_reconnect: bool = False) -> None:
        """See FakeServer."""
        self._portal.call(partial(self._server.end, connection_id, error=error, allow_reconnect=allow_reconnect))

    def refuse(self, status: int = 401, text: str = "", *, times: int | None = None) -> None:
        """See FakeServer."""
        self._portal.call(partial(self._server.refuse, status, text, times=times))

    def refuse_transports(self, *names: str) -> None:
        """See FakeServer."""
        self._portal.call(self._server.refuse_transports, *names)

    def accept(self) -> None:
        """See FakeServer."""
        self._portal.call(self._server.accept)

    @property
    def calls(self) -> list[Call]:
        """See FakeServer."""
        return self._portal.call(lambda: self._server.calls)

    @property
    def requests(self) -> list[Request]:
        """See FakeServer."""
        return self._portal.call(lambda: list(self._server.requests))

    @property
    def connections(self) -> list[str]:
        """See FakeServer."""
        return self._portal.call(lambda: list(self._server.connections))

    def called(self, method: str, *, hub: str | None = None) -> list[Any]:
        """See FakeServer."""
        return self._portal.call(partial(self._server.called, method, hub=hub))

    def connected(self, count: int = 1) -> None:
        """See FakeServer."""
        self._portal.call(self._server.connected, count)

    def disconnected(self) -> None:
        """See FakeServer."""
        self._portal.call(self._server.disconnected)

    def __repr__(self) -> str:
        return repr(self._server)
