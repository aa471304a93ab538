"""`App` as an ASGI 3 application: the server has the sockets, we have its messages.

The server's own task of a request or WebSocket receives; what leaves is written by a second task, which is there only
while an answer is not complete at once. On asyncio its writing begins inside whoever sends, in its name, so that a
broadcast wakes nobody. Where the server makes it wait the task goes on: what gathers meanwhile leaves as one batch.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

import anyio

from ..protocol.http1_policy import Refused
from ..tasks import Parking, open_tasks
from ..wire.http import Chunk, End, Head
from .asgi_lifespan import Application, Stay
from .asgi_messages import HttpMessages, WebSocketMessages
from .asgi_requests import BodyTooSlow, Message, PeerGone, Receive, Scope, Send, read_body, read_request, said_goodbye

if TYPE_CHECKING:
    from ..host import Host
    from ..protocol.exchange import Exchange
    from ..wire.http import Piece, Request

__all__ = ["AsgiApplication", "Message", "Receive", "Scope", "Send"]

_logger = logging.getLogger("persistconn.asgi")

_REPEATS: Final = 8
"""Middleware that plays a body back does so for ever: who has heard it so often asks no more, and notices that the
client has gone when it is written to."""
_TEXT: Final = ((b"Content-Type", b"text/plain; charset=utf-8"),)


Translate: TypeAlias = "Callable[[Sequence[Piece]], Sequence[Message]]"
"""The messages for some pieces."""


class AsgiApplication:
    """Takes the scopes of an ASGI server. `App.__call__` makes one."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self.stay = Stay(app)
        """Its beginning and its end."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one scope. Raises ValueError for a kind of scope that is none of ours, as ASGI wants it."""
        kind = scope["type"]
        if kind == "http":
            await self._http(scope, receive, send)
        elif kind == "websocket":
            await self._websocket(scope, receive, send)
        elif kind == "lifespan":
            await self.stay.lifespan(receive, send)
        else:
            raise ValueError(f"no scope of type {kind!r} is served here: http, websocket and lifespan are")

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        # uvicorn waits for connections that begin as it ends, as long as clients use them. HTTP/2 has no such header.
        last = self.stay.ending and str(scope.get("http_version")).startswith("1")
        line = HttpLine(receive, send, HttpMessages(head_only=scope["method"] == "HEAD", last=last).of)
        try:
            request = self._read(scope, await read_body(scope, receive, self._app.settings))
        except PeerGone:
            return
        except Refused as refused:
            await line.say(refused.status, str(refused))
        except BodyTooSlow:
            await line.say(408, "The body did not come in time (body_timeout).")
        else:
            await self._serve(line, request)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            message = await receive()
        except Exception as error:
            _is_gone(error)
            return
        if message["type"] == "websocket.connect":
            translate = WebSocketMessages(scope.get("extensions")).of
            line = WebSocketLine(receive, send, translate, self._app.settings.max_message_size)
            await self._serve(line, self._read(scope))

    def _read(self, scope: Scope, body: bytes = b"") -> Request:
        return read_request(scope, body, user_matters=not self._app.authenticates)

    async def _serve(self, line: Line, request: Request) -> None:
        if self.stay.over:
            await line.say(503, "This server is going away.")
            return
        host = self._app.here() or await self._app.at_home()
        self.stay.lines.add(line)
        try:
            await line.run(host, request)
        finally:
            self.stay.lines.discard(line)


class Line(ABC):
    """One exchange on an ASGI server: the host's `Link`."""

    # fmt: off
    __slots__ = (
        "_ended", "_farewell", "_host", "_late", "_messages", "_parking", "_receive", "_scope", "_send",
        "_translate",
    )
    # fmt: on

    def __init__(self, receive: Receive, send: Send, translate: Translate) -> None:
        self._receive = receive
        self._send = send
        self._translate = translate
        self._host: Host
        self._messages: Sequence[Message] | None = None
        """What is being written, or will be."""
        self._parking: Parking | None = None
        """Where the writing task waits, once there is one."""
        self._scope: anyio.CancelScope | None = None
        """Of the task that receives."""
        self._late = False
        """Who gave us the messages went on before they were written: `host.sent` is due."""
        self._ended = False
        """The last message is among those that were handed out, or nothing more is to be written."""
        self._farewell: Message | None = None
        """What ends the exchange where the host has given it up."""

    @abstractmethod
    async def listen(self, exchange: Exchange) -> bool:
        """Take what the client sends until it goes; True: with a goodbye."""

    @abstractmethod
    def give_up(self) -> Message:
        """The message that cuts this short."""

    async def say(self, status: int, text: str) -> None:
        """One sentence as the whole answer."""
        self._messages = self._translate((Head(status, _TEXT), Chunk(text.encode()), End()))
        await self._write()

    # What the host asks for (its Link) ----------------------------------------------------------

    def transmit(self, exchange: Exchange, pieces: tuple[Piece, ...]) -> bool:
        """Write `pieces` now. True: the server has them. False: `host.sent` will follow, or `host.lost`."""
        if self._ended:
            return True
        messages = self._translate(pieces)
        self._ended = type(pieces[-1]) is End
        if not messages:
            return True
        self._messages = messages
        if self._parking is not None and self._parking.begin(self._write):
            if self._ended:
                self._leave()
            return True
        self._late = True
        return False

    def abandon(self) -> None:
        """Cut, without a word to the host: it knows."""
        self._ended = True
        self._farewell = self.give_up()
        self._leave()

    def resume(self) -> None:
        """The host has room for messages again."""

    def _leave(self) -> None:
        if self._scope is not None:
            self._scope.cancel()

    # The life of an exchange --------------------------------------------------------------------

    async def run(self, host: Host, request: Request) -> None:
        """From the request to the last message."""
        self._host = host
        graceful = False
        exchange: Exchange | None = None
        try:
            exchange = host.open_nowait(request, self)
            if exchange is None:
                exchange = await host.open(request, self)
            else:
                host.pump()
            if self._ended:
                await self._write()  # in the server's own task: nearly always the answer is whole
            else:
                graceful = await self._converse(exchange)
        finally:
            self._ended = True
            if exchange is not None and not exchange.ended and host.thread is not None:  # else the app has stopped
                host.lost(exchange, graceful=graceful)

    async def _converse(self, exchange: Exchange) -> bool:
        """Receive here, write in a second task."""
        graceful = False
        async with open_tasks() as tasks:
            with anyio.CancelScope() as self._scope:
                self._parking = tasks.parking()
                tasks.spawn(self._write_on, exchange, self._parking)
                graceful = await self.listen(exchange)
                if self._ended and self._messages is not None and self._farewell is None:
                    # Servers say that the client has gone when they get our last message, and are not done with it:
                    # hypercorn closes the socket in that call. Who writes it leaves.
                    await anyio.sleep(self._host.settings.close_timeout)
        if self._farewell is not None:
            with anyio.move_on_after(self._host.settings.close_timeout):
                await self._farewell_to(exchange, self._farewell)
        return graceful

    async def _farewell_to(self, exchange: Exchange, message: Message) -> None:
        self._host.lost(exchange)
        self._messages = (message,)
        await self._write()

    async def _write_on(self, exchange: Exchange, parking: Parking) -> None:
        """What could not be written at once is written here, or goes on here."""
        try:
            while not self._ended or self._messages is not None:
                if self._messages is None:
                    await parking.wait()
                if self._messages is not None:
                    await self._write()
                if self._late and not self._ended:
                    self._late = False
                    self._host.sent(exchange)
        finally:
            self._leave()  # nothing more will be said

    async def _write(self) -> None:
        """Write what there is."""
        try:
            for message in self._messages or ():
                await self._send(message)
        except Exception as error:  # servers do not agree on which; what the client's end looks like is not our fault
            _logger.debug("a client went while it was written to: %r", error)
            self._ended = True
        finally:
            self._messages = None


class HttpLine(Line):
    """A request and its answer."""

    __slots__ = ()

    async def listen(self, exchange: Exchange) -> bool:
        """Wait for the client to go."""
        for _ in range(_REPEATS):
            try:
                message = await self._receive()
            except Exception as error:
                return _is_gone(error)
            if message["type"] == "http.disconnect":
                return False
        await anyio.sleep_forever()
        return False

    def give_up(self) -> Message:
        """The body ends here."""
        return {"type": "http.response.body", "body": b"", "more_body": False}


class WebSocketLine(Line):
    """A WebSocket, or the answer in its place."""

    __slots__ = ("_limit", "_resumed")

    def __init__(self, receive: Receive, send: Send, translate: Translate, limit: int | None) -> None:
        super().__init__(receive, send, translate)
        self._limit = limit
        self._resumed: anyio.Event | None = None

    async def listen(self, exchange: Exchange) -> bool:
        """Hand on messages, as long as the host takes them."""
        host, receive = self._host, self._receive
        while True:
            try:
                message = await receive()
            except Exception as error:
                return _is_gone(error)
            if message["type"] == "websocket.disconnect":
                return said_goodbye(message)
            if self._ended:
                continue
            data = message.get("text")
            if data is None:
                data = bytes(message.get("bytes") or b"")
            # Who takes parts has a limit of its own, and says it in the client's words.
            if self._limit is not None and not exchange.parts and _is_larger(data, self._limit):
                self._ended = True
                self._farewell = _close(1009, f"The message is larger than {self._limit} bytes")
                return False
            host.receive(exchange, (data,))
            host.pump()
            while exchange.paused:
                self._resumed = anyio.Event()
                await self._resumed.wait()

    def resume(self) -> None:
        """The host has room for messages again."""
        if self._resumed is not None:
            self._resumed.set()

    def _leave(self) -> None:
        """With our last word the client's own close frame is waited for: hypercorn cuts the socket when we return."""
        if self._scope is not None and self._farewell is None:
            self._scope.deadline = anyio.current_time() + self._host.settings.close_timeout
        else:
            super()._leave()

    def give_up(self) -> Message:
        """A client that takes nothing will hardly see it; the server ends the socket."""
        return _close(1008, "Too slow")


def _is_gone(error: Exception) -> bool:
    """Servers and middleware do not agree on what `receive` raises then; it was no goodbye."""
    _logger.debug("a client went while it was listened to: %r", error)
    return False


def _close(code: int, reason: str) -> Message:
    return {"type": "websocket.close", "code": code, "reason": reason}


def _is_larger(data: str | bytes, limit: int) -> bool:
    """In bytes, as it was sent."""
    if isinstance(data, bytes) or data.isascii():
        return len(data) > limit
    return len(data) > limit or (4 * len(data) > limit and len(data.encode()) > limit)
