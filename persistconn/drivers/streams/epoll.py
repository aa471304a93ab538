"""Channels over plain sockets that one epoll object watches (Linux): no transport and no task per connection.

The loop that runs them waits for the one descriptor of the `Poller`, and then calls `serve_ready`.
"""

from __future__ import annotations

import logging
import select
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import anyio

from ..channel import Channel
from ..state import ServerState
from . import Address, reset_on_close

__all__ = ["EpollChannel", "Poller"]

logger = logging.getLogger("persistconn.server")

READ: Final = 65_536
"""Bytes read from one socket before the next has its turn."""
AT_ONCE: Final = 256
"""Sockets read before the other tasks of the loop have theirs."""


class Poller:
    """Says which of many sockets can be read, and tells channels that are over that they are.

    Edge-triggered: a socket is reported when something comes, and the system need not look at it again to see whether
    we have taken it. Fewer bytes than asked for were all there were (epoll(7), questions and answers); after as many
    as that, and where the end has come behind them, `again` has it reported once more. (What stands behind the mark of
    urgent data is read with what comes next; nobody who speaks HTTP sends any.) A socket that nobody wants to
    read is taken out, for its end would be reported, whatever was asked for (epoll_ctl(2), EPOLLHUP and EPOLLERR).
    """

    __slots__ = ("_channels", "_epoll", "_gone", "_new", "_news", "_serving")

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._channels: dict[int, EpollChannel] = {}
        self._new: list[EpollChannel] = []
        self._gone: list[EpollChannel] = []
        self._news = anyio.Event()
        self._serving = False
        """`serve_ready` is at work, and will tell of those that are gone."""

    def fileno(self) -> int:
        """Readable when `serve_ready` has something to do."""
        return self._epoll.fileno()

    def add(self, channel: EpollChannel, descriptor: int) -> None:
        """Read this socket from now on. Raises OSError when the system has no room for that."""
        self._epoll.register(descriptor, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET)
        self._channels[descriptor] = channel

    def again(self, descriptor: int) -> None:
        """Not all has been read: report it again, after others had their turn."""
        self._epoll.modify(descriptor, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET)

    def remove(self, descriptor: int) -> None:
        """Read it no more; always before it is closed, for its number may be another socket's a moment later."""
        del self._channels[descriptor]
        self._epoll.unregister(descriptor)

    def greet(self, channel: EpollChannel) -> None:
        """It is new. A client's first request often comes right behind its connection, so read it without being told
        to: waking up once for both saves most of what a wake-up costs."""
        self._new.append(channel)

    async def when_readable(self, sock: socket.socket, call: Callable[[], None]) -> None:
        """Call `call()` whenever there is something to read from `sock`, until it raises."""
        descriptor = sock.fileno()
        watched: Any = _Watched(call)  # a channel for all that it is asked
        self._epoll.register(descriptor, select.EPOLLIN)  # again and again, until all has been taken
        self._channels[descriptor] = watched
        try:
            await watched.over.wait()
        finally:
            self.remove(descriptor)
        assert watched.error is not None
        raise watched.error

    def serve_ready(self) -> None:
        """Read every socket that has something, once, and give it to its channel; then those that are new."""
        find, only_bytes = self._channels.get, select.EPOLLIN
        told: EpollChannel | None = None
        self._serving = True
        try:
            for descriptor, came in self._epoll.poll(0, AT_ONCE):
                channel = find(descriptor)
                if channel is not None:  # else one that came before has paused or closed it
                    if came != only_bytes:
                        self.again(descriptor)
                    told = self._read(channel) or told
            for channel in self._new:
                told = self._read(channel) or told
            self._new.clear()
            if told is not None:
                self._serve(told)
            self.tell_lost()
        finally:
            self._serving = False

    def _read(self, channel: EpollChannel) -> EpollChannel | None:
        """Let it read once. Gives it back if the host has to deal with what it has heard."""
        try:
            return channel if channel.readable() else None
        except Exception:
            logger.exception("an error in the server; the connection it happened on is closed")
            channel.cut()
            return None

    def _serve(self, channel: EpollChannel) -> None:
        """Let the host deal with what all channels have heard."""
        try:
            channel.serve()
        except Exception:
            logger.exception("an error in the server, while callbacks ran")

    def bury(self, channel: EpollChannel) -> None:
        """Its socket is closed: tell it so, soon."""
        if not self._gone and not self._serving:
            self._news.set()
        self._gone.append(channel)

    async def tell_lost_forever(self) -> None:
        """Tell channels that they are over, until cancelled."""
        while True:
            await self._news.wait()
            self._news = anyio.Event()
            self.tell_lost()

    def tell_lost(self) -> None:
        """Tell those that are over and have not been told."""
        while self._gone:
            gone, self._gone = self._gone, []
            for channel in gone:
                try:
                    channel.connection_lost()
                except Exception:
                    logger.exception("an error in the server, about a connection that is over")

    def close(self) -> None:
        """No channel may be left."""
        self.tell_lost()
        self._epoll.close()


class _Watched:
    """A listening socket in a `Poller`."""

    __slots__ = ("_call", "error", "over")

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call
        self.error: Exception | None = None
        self.over = anyio.Event()

    def readable(self) -> bool:
        """The poller says that there is something to read; until it was told that this is over, again and again."""
        if self.error is None:
            try:
                self._call()
            except Exception as error:
                self.error = error
                self.over.set()
        return False


class EpollChannel(Channel):
    """A channel over a non-blocking socket: sent at once, and what does not fit by a task made on demand."""

    __slots__ = ("_backlog", "_backlog_size", "_closed", "_finishing", "_heard_all", "_poller", "_socket", "_watched")

    def __init__(self, state: ServerState, poller: Poller, sock: socket.socket, *, client: Address = None) -> None:
        super().__init__(state, client=client)
        self._poller = poller
        self._socket = sock
        self._backlog: deque[memoryview] | None = None
        """None: nothing waits, and no task drains."""
        self._backlog_size = 0
        self._finishing: bool | None = None
        """What `finish` was told, while it waits for the backlog."""
        self._closed = False
        self._heard_all = False
        """The peer has closed its half."""
        self._watched = False
        self.resume_reading()

    def readable(self) -> bool:
        """The poller says that there is something to read. True: the host has to be pumped."""
        try:
            data = self._socket.recv(READ)
        except BlockingIOError:
            return False
        except OSError:
            self._close()  # reset by the peer
            return False
        if data:
            if len(data) == READ:
                self._poller.again(self._socket.fileno())
            return self.hear(data)
        self._heard_all = True
        self.pause_reading()
        if not self.eof_received():
            self.finish(linger=False)
        return False

    def serve(self) -> None:
        """Let the host deal with what all channels have heard."""
        self._host.serve()

    def write(self, data: bytes) -> bool:
        """See Channel."""
        if self._backlog is not None:
            self._backlog.append(memoryview(data))
            self._backlog_size += len(data)
            return False
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.cut()  # the poller tells of the loss, later: who writes may be publishing to thousands
            return False
        if sent == len(data):
            return True
        self._backlog = deque((memoryview(data)[sent:],))
        self._backlog_size = len(data) - sent
        self._state.spawn(self._drain)
        return False

    async def _drain(self) -> None:
        backlog = self._backlog
        sock = self._socket
        while backlog and not self._closed:
            try:
                await anyio.wait_writable(sock)
                sent = sock.send(backlog[0])
            except BlockingIOError:
                continue
            except (OSError, anyio.ClosedResourceError):
                self.cut()
                return
            self._backlog_size -= sent
            if sent < len(backlog[0]):
                backlog[0] = backlog[0][sent:]
            else:
                backlog.popleft()
        if not self._closed:
            self._backlog = None
            if self._finishing is not None:
                self._finish_now(linger=self._finishing)
            self.write_ready()

    def unwritten(self) -> int:
        """See Channel."""
        return self._backlog_size

    def finish(self, *, linger: bool) -> None:
        """See Channel."""
        if self._backlog is None:
            self._finish_now(linger=linger)
        else:
            self._finishing = linger

    def _finish_now(self, *, linger: bool) -> None:
        if not linger:
            self._close()
        elif not self._closed:
            try:
                self._socket.shutdown(socket.SHUT_WR)
            except OSError:
                self._close()  # the peer was faster

    def cut(self) -> None:
        """See Channel."""
        if not self._closed:
            reset_on_close(self._socket)
            self._close()

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            self.pause_reading()
            if self._backlog is not None:
                self._backlog_size = 0
                anyio.notify_closing(self._socket)  # wakes the task that drains, with ClosedResourceError
            self._socket.close()
            self._poller.bury(self)

    def pause_reading(self) -> None:
        """See Channel."""
        if self._watched:
            self._watched = False
            self._poller.remove(self._socket.fileno())

    def resume_reading(self) -> None:
        """See Channel."""
        if not self._watched and not self._closed and not self._heard_all:
            try:
                self._poller.add(self, self._socket.fileno())
            except OSError as error:
                self._state.log.refused(self.client, f"no connection: {error}")
                self.cut()
            else:
                self._watched = True
