"""What users send, on its way from a callback, a task or a thread to the endpoint: the host's side of the Outlet."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, NoReturn

import anyio

from .bus.post import Encoded
from .callbacks import Callbacks
from .connection import Connection, PersistentConnection
from .errors import ConnectionClosed, PersistconnError, RemoteProtocolError
from .protocol.outputs import Received
from .protocol.replay import Replay
from .protocol.server import ServerEndpoint
from .protocol.terms import Terms
from .wire.format import Format

__all__ = ["Sending"]


class Sending(ABC):
    """An Outlet. What is sent while callbacks run gathers, and leaves when they wait or have all run."""

    def __init__(
        self, endpoint: ServerEndpoint, routes: Mapping[str, PersistentConnection], clock: Callable[[], float]
    ) -> None:
        self.endpoint = endpoint
        self.clock = clock
        self.thread: int | None = None
        """Of the event loop."""
        self._callbacks = Callbacks(routes, self)
        self._waiters: dict[str, list[anyio.Event]] = {}

    @abstractmethod
    def pump(self) -> None:
        """See that everything the endpoint has to say is dealt with."""

    @abstractmethod
    def flush(self) -> None:
        """Let leave what has been sent."""

    def _in_loop(self, what: str) -> None:
        if threading.get_ident() != self.thread:
            self.complain(what)

    def complain(self, what: str) -> NoReturn:
        """Say why `what` cannot be sent from here."""
        if self.thread is None:
            raise PersistconnError(f"{what}: the app is not running; serve it first")
        raise PersistconnError(
            f"{what} was called in a thread without the event loop, where nobody would await it: "
            f"use app.from_thread.run({what}, …)"
        )

    async def send_to(self, connection_id: str, payload: Encoded) -> None:
        """`connection.send`."""
        callbacks = self._callbacks
        running = callbacks.running
        keeps_up = self.endpoint.send(connection_id, payload, callbacks.now if running else self.clock())
        if keeps_up:
            if not running:
                self.pump()
        elif keeps_up is None:
            callbacks.desert(connection_id)  # who asks `connection.ended` now is told the same
            raise ConnectionClosed(f"connection {connection_id} has ended")
        else:
            await self._caught_up(connection_id)
            if not self.endpoint.is_connected(connection_id):
                callbacks.desert(connection_id)
                raise ConnectionClosed(f"connection {connection_id} has ended before it took the message")

    def send(self, ids: Sequence[str], payload: Encoded) -> Coroutine[Any, Any, None]:
        """`PersistentConnection.send`."""
        self._in_loop("send")
        return self._send(ids, payload)

    async def _send(self, ids: Sequence[str], payload: Encoded) -> None:
        now = self.clock()
        keeps_up: bool | None = True
        for connection_id in ids:
            keeps_up = self.endpoint.send(connection_id, payload, now)
        if keeps_up is False and len(ids) == 1:
            await self._caught_up(ids[0])
        else:
            self._leave()

    async def _caught_up(self, connection_id: str) -> None:
        """Wait for a connection that is behind."""
        waiter = anyio.Event()
        self._waiters.setdefault(connection_id, []).append(waiter)
        self._leave()
        await waiter.wait()
        self._in_loop("send")  # the app may have stopped

    def publish(self, topic: str, payload: Encoded, exclude: frozenset[str]) -> Coroutine[Any, Any, None]:
        """`broadcast` and `groups[…].send`."""
        self._in_loop("broadcast")
        return self._publish(topic, payload, exclude)

    async def _publish(self, topic: str, payload: Encoded, exclude: frozenset[str]) -> None:
        self.endpoint.publish(topic, payload, self.clock(), exclude=exclude)
        self._leave()

    def join(self, connection_id: str, name: str) -> Coroutine[Any, Any, None]:
        """`groups.join`."""
        self._in_loop("groups.join")
        return self._do(self.endpoint.join, connection_id, name)

    def leave(self, connection_id: str, name: str) -> Coroutine[Any, Any, None]:
        """`groups.leave`."""
        self._in_loop("groups.leave")
        return self._do(self.endpoint.leave, connection_id, name)

    def close(self, connection_id: str, reason: str, allow_reconnect: bool) -> Coroutine[Any, Any, None]:
        """`connection.close`."""
        self._in_loop("connection.close")
        return self._close(connection_id, reason, allow_reconnect)

    async def _close(self, connection_id: str, reason: str, allow_reconnect: bool) -> None:
        self.endpoint.close(connection_id, self.clock(), reason=reason, allow_reconnect=allow_reconnect)
        if not allow_reconnect:
            self._callbacks.desert(connection_id)  # now: of what has come with this message no more is begun
        self._leave()

    async def _do(self, change: Callable[[str, str, float], None], connection_id: str, name: str) -> None:
        change(connection_id, name, self.clock())
        self._leave()

    def reply(self, message: Received, payload: Encoded) -> Coroutine[Any, Any, None]:
        """`Reply.send`."""
        self._in_loop("reply.send")
        return self._reply(message, payload)

    async def _reply(self, message: Received, payload: Encoded) -> None:
        if self.endpoint.reply(message, payload, self.clock()):
            self._leave()
        else:
            await self._caught_up(message.connection_id)

    def refuse(self, message: Received, error: RemoteProtocolError) -> None:
        """`Reply.refuse`."""
        self._in_loop("reply.refuse")
        self.endpoint.reply(message, error, self.clock())
        self._leave()

    def let_next(self, message: Received) -> None:
        """`Connection.let_next`."""
        self._in_loop("connection.let_next")
        self._callbacks.let_next(message)
        self._leave()

    # What layers agree with clients -------------------------------------------------------------

    @property
    def terms(self) -> Terms:
        """What the endpoint offers for that."""
        return self.endpoint.terms

    def speak(self, connection_id: str, format: Format) -> None:
        """`Connection.speak`."""
        self._in_loop("connection.speak")
        self.terms.speak(connection_id, format, self.clock())
        self._leave()

    def subscribe(self, connection_id: str, topic: str) -> Coroutine[Any, Any, None]:
        """`Connection.subscribe`."""
        self._in_loop("connection.subscribe")
        return self._do(self.terms.subscribe, connection_id, topic)

    def alarm(self, connection_id: str, seconds: float | None) -> None:
        """`Connection.alarm`."""
        self._in_loop("connection.alarm")
        now = self.clock()
        self.terms.alarm(connection_id, None if seconds is None else now + seconds, now)
        self._leave()

    def resume_with(self, connection_id: str, replay: Replay) -> None:
        """`Connection.resume_with`."""
        self._in_loop("connection.resume_with")
        self.terms.resume_with(connection_id, replay, self.clock())
        self._leave()

    def interject(self, connection_id: str, frame: bytes) -> None:
        """`Connection.interject`."""
        self._in_loop("connection.interject")
        self.terms.interject(connection_id, frame, self.clock())
        self._leave()

    def go_on_sending(self, connection_id: str) -> None:
        """`Connection.go_on_sending`."""
        self._in_loop("connection.go_on_sending")
        self.terms.go_on_sending(connection_id, self.clock())
        self._leave()

    def start_soon(self, connection: Connection, function: Callable[..., Awaitable[object]], *args: Any) -> None:
        """`connection.start_soon`."""
        self._in_loop("connection.start_soon")
        self._callbacks.start_soon(connection.id, function, *args)

    def _leave(self) -> None:
        """What was sent leaves now, or with the rest of the callback that sent it."""
        if not self._callbacks.running:
            self.pump()
