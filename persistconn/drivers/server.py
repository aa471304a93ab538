"""A server: listeners, TLS, the limit of sockets, signals, and an orderly end."""

from __future__ import annotations

import logging
import os
import signal
import socket
import ssl
import threading
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Protocol

import anyio
from anyio.abc import TaskStatus

from ..errors import ConfigurationError
from .access import AccessLog
from .listeners import Listener, accept_forever, bind, bind_unix
from .refusals import Refusals
from .state import Gateway, ServerState
from .streams import StreamDriver, Streams, streams_for

__all__ = ["Application", "Server", "serve", "tls_context"]

logger = logging.getLogger("persistconn.server")


class Application(Protocol):
    """What can be served: `persistconn.App`."""

    def running(self) -> AbstractAsyncContextManager[Gateway]:
        """Run the application's host until the block is left."""
        ...


class Server:
    """Listens, and serves one host until it is told to stop.

    `addresses` says where: host and port, or the path of a Unix socket. Made by `serve`, which hands it out with
    `task_status.started(server)`; make one yourself to serve a host of yours.
    """

    def __init__(
        self,
        host: Gateway,
        listeners: Sequence[Listener],
        *,
        tls: ssl.SSLContext | None = None,
        root_path: str = "",
        access_log: bool = True,
        handle_signals: bool = True,
        stream_driver: StreamDriver | None = None,
    ) -> None:
        self.state = ServerState(host, root_path=_prefix(root_path), log=AccessLog(enabled=access_log))
        self.addresses = tuple(listener.address for listener in listeners)
        """Where it listens: (host, port), or the path of a Unix socket."""
        self._listeners = tuple(listeners)
        self._tls = tls
        self._handle_signals = handle_signals
        self._stream_driver: StreamDriver | None = stream_driver
        self._refusals = Refusals(self.state.clock, lifetime=self.state.settings.close_timeout)
        self._stop = anyio.Event()
        self._accepting = anyio.CancelScope()
        self._accepting_ended = anyio.Event()
        self._notice = anyio.CancelScope()
        self._patience = anyio.CancelScope()

    @property
    def port(self) -> int:
        """The TCP port: handy after asking for port 0.

        Raises LookupError when it listens on Unix sockets only.
        """
        for address in self.addresses:
            if isinstance(address, tuple):
                return address[1]
        raise LookupError("this server listens on no TCP port")

    @property
    def sockets(self) -> int:
        """Open connections."""
        return len(self.state.channels) + self.state.connecting

    @property
    def stopping(self) -> bool:
        """It has been told to stop."""
        return self._stop.is_set()

    def shutdown(self) -> None:
        """Stop: no new connections, clients told to come back later, idle ones closed. A second call cuts at once."""
        if self._stop.is_set():
            self._notice.cancel()
            self._patience.cancel()
        self._stop.set()

    async def run(self, *, task_status: TaskStatus[Server] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until `shutdown`, a signal, or cancellation; then close everything, listeners too."""
        try:
            async with streams_for(self.state, self._stream_driver) as streams, anyio.create_task_group() as tasks:
                tasks.start_soon(self._accept, streams)
                tasks.start_soon(self.state.watch)
                if self._handle_signals and threading.current_thread() is threading.main_thread():
                    await tasks.start(self._obey_signals)
                logger.info("listening on %s", ", ".join(map(_shown, self.addresses)))
                task_status.started(self)
                await self._stop.wait()
                await self._drain()
                tasks.cancel_scope.cancel()
        finally:
            self._close_listeners()
            self._refusals.close()

    async def _accept(self, streams: Streams) -> None:
        def attach(sock: socket.socket, client: tuple[str, int] | None) -> None:
            limit = self.state.settings.max_sockets
            if limit and self.sockets >= limit:
                self.state.log.refused(client, "max_sockets")
                self._refusals.refuse(sock, tls=self._tls is not None)
            else:
                streams.attach(sock, client, self._tls)

        accept = partial(
            accept_forever,
            attach=attach,
            user_timeout=self.state.settings.tcp_user_timeout,
            when_readable=streams.when_readable,
        )
        with self._accepting:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._refusals.expire_forever)
                for listener in self._listeners:
                    tasks.start_soon(accept, listener.socket)
        self._accepting_ended.set()

    def _close_listeners(self) -> None:
        self._accepting.cancel()
        for listener in self._listeners:
            listener.close()

    async def _drain(self) -> None:
        state = self.state
        timeout, notice = state.settings.drain_timeout, state.settings.drain_notice
        state.host.announce()
        if notice:
            logger.info("shutting down in %g s", notice)
            with self._notice:
                await anyio.sleep(notice)
            is_over = self._patience.cancel_called
            self._patience = anyio.CancelScope()  # trio lets each be used once
            if is_over:
                self._patience.cancel()
        logger.info("shutting down; clients have %g s", timeout)
        self._accepting.cancel()
        await self._accepting_ended.wait()  # nobody may wait on a socket that is closed
        self._close_listeners()
        with self._patience, anyio.move_on_after(timeout):
            state.host.drain()
            state.host.pump()
            state.start_draining()
            await state.host.drained()
            await state.emptied.wait()
        if state.channels:
            logger.warning("%d connections did not end in time and are cut", len(state.channels))

    async def _obey_signals(self, *, task_status: TaskStatus[None]) -> None:
        """SIGTERM and SIGINT (Ctrl-C) begin the shutdown; the second cuts it short."""
        try:
            with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                task_status.started()
                async for _ in signals:
                    self.shutdown()
        except (NotImplementedError, ValueError):  # a loop or a platform without signals
            task_status.started()


async def serve(
    app: Application,
    *,
    host: str | Sequence[str] = "127.0.0.1",
    port: int = 8000,
    uds: str | os.PathLike[str] | None = None,
    uds_mode: int | None = None,
    tls_cert: str | os.PathLike[str] | None = None,
    tls_key: str | os.PathLike[str] | None = None,
    ssl_context: ssl.SSLContext | None = None,
    sockets: Sequence[socket.socket] | None = None,
    backlog: int = 2048,
    root_path: str = "",
    access_log: bool = True,
    handle_signals: bool = True,
    stream_driver: StreamDriver | None = None,
    task_status: TaskStatus[Server] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `app` over HTTP/1.1 and WebSocket, inside any program that runs on asyncio or trio.

    It listens on `host` (a name, an address or several) and `port` (0: a free one), or on the Unix socket `uds`,
    or on `sockets` that are bound already. With `tls_cert` and `tls_key` (PEM files) or an `ssl_context` it speaks
    TLS. It returns after SIGTERM or SIGINT (when it runs in the main thread and `handle_signals`), at most about
    `drain_timeout` seconds later, or when it is cancelled. `root_path` is what a proxy in front takes off every path
    (`/app` where `/app/echo` arrives as `/echo`): clients are told the address they know. `task_status.started`
    gets the `Server`, once it listens. Raises ConfigurationError when an address or a certificate cannot be used.

    ::

        async with anyio.create_task_group() as tasks:
            server = await tasks.start(partial(serve, app, port=0))
            print(server.addresses)
            server.shutdown()
    """
    tls = ssl_context if ssl_context is not None else tls_context(tls_cert, tls_key)
    listeners = await _listeners(host, port, uds, uds_mode, sockets, backlog)
    try:
        async with app.running() as gateway:
            server = Server(
                gateway,
                listeners,
                tls=tls,
                root_path=root_path,
                access_log=access_log,
                handle_signals=handle_signals,
                stream_driver=stream_driver,
            )
            await server.run(task_status=task_status)
    finally:
        for listener in listeners:
            listener.close()


async def _listeners(
    host: str | Sequence[str],
    port: int,
    uds: str | os.PathLike[str] | None,
    uds_mode: int | None,
    sockets: Sequence[socket.socket] | None,
    backlog: int,
) -> list[Listener]:
    if sockets is not None:
        for sock in sockets:
            sock.listen(backlog)
        return [Listener(sock) for sock in sockets]
    if uds is not None:
        return [bind_unix(uds, mode=uds_mode, backlog=backlog)]
    return await anyio.to_thread.run_sync(lambda: bind(host, port, backlog=backlog))


def _prefix(root_path: str) -> str:
    if root_path and not root_path.startswith("/"):
        raise ConfigurationError(f"root_path is {root_path!r}: it must begin with /")
    return root_path.rstrip("/")


def tls_context(
    cert: str | os.PathLike[str] | None, key: str | os.PathLike[str] | None = None
) -> ssl.SSLContext | None:
    """The usual server-side context for these PEM files; None without a certificate.

    Raises ConfigurationError when the files cannot be used.
    """
    if cert is None:
        if key is not None:
            raise ConfigurationError("tls_key is set but tls_cert is not: TLS needs both, or one file with both")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert, key)
    except OSError as error:  # an SSLError is one
        raise ConfigurationError(f"tls_cert {os.fspath(cert)} cannot be used: {error}") from error
    context.set_alpn_protocols(["http/1.1"])
    return context


def _shown(address: tuple[str, int] | str) -> str:
    if isinstance(address, str):
        return address
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
