"""Listening sockets: binding them, accepting from them whatever happens, and cleaning up after them."""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias

import anyio

from ..errors import ConfigurationError

__all__ = ["Listener", "accept_forever", "bind", "bind_unix", "tune", "when_readable"]

Attach: TypeAlias = Callable[[socket.socket, "tuple[str, int] | None"], None]

logger = logging.getLogger("persistconn.server")

BATCH: Final = 64
"""Connections accepted before other tasks get a turn."""
EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""No room now; there will be when others close. Peers wait in the backlog of the system."""
FIRST_DELAY: Final = 0.05
LONGEST_DELAY: Final = 1.0
BIND_ATTEMPTS: Final = 8
"""Port 0 on several addresses: the system's choice for the first may be taken on the others."""


class Listener:
    """A listening socket, and the file to remove when it is closed."""

    __slots__ = ("_inode", "_path", "socket")

    def __init__(self, sock: socket.socket, *, path: str | None = None) -> None:
        self.socket = sock
        self._path = path
        self._inode = os.stat(path).st_ino if path is not None else None
        sock.setblocking(False)

    @property
    def address(self) -> tuple[str, int] | str:
        """Host and port, or the path of a Unix socket."""
        name: Any = self.socket.getsockname()
        return name if isinstance(name, str) else (name[0], name[1])

    def close(self) -> None:
        """Accept no more. The file goes too, unless a successor has put its own there."""
        self.socket.close()
        path, self._path = self._path, None
        if path is not None:
            try:
                if os.stat(path).st_ino == self._inode:
                    os.unlink(path)
            except FileNotFoundError:
                pass


def bind(host: str | Sequence[str], port: int, *, backlog: int = 2048) -> list[Listener]:
    """Listen on every address of `host` (one name or several; `""` is all interfaces), all on one port.

    Raises ConfigurationError, with the reason, when one of the hosts has no address that can be bound.
    """
    hosts = [host] if isinstance(host, str) else list(host)
    if not hosts:
        raise ConfigurationError("host is an empty list: give at least one name or address")
    for attempt in range(BIND_ATTEMPTS):
        listeners: list[Listener] = []
        name = hosts[0]
        try:
            for name in hosts:
                listeners += _bind_host(
                    name, port or (listeners[0].socket.getsockname()[1] if listeners else 0), backlog
                )
            return listeners
        except OSError as error:
            for listener in listeners:
                listener.close()
            if port or error.errno != errno.EADDRINUSE or attempt == BIND_ATTEMPTS - 1:
                raise ConfigurationError(f"cannot listen on {name or 'all interfaces'} port {port}: {error}") from error
    raise AssertionError("unreachable: the last attempt returns or raises")


def _bind_host(host: str, port: int, backlog: int) -> list[Listener]:
    infos = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    listeners: list[Listener] = []
    failure: OSError | None = None
    for family, kind, protocol, _, address in dict.fromkeys(infos):
        if port == 0 and listeners:
            address = (address[0], listeners[0].socket.getsockname()[1], *address[2:])
        try:
            listeners.append(Listener(_listen(family, kind, protocol, address, backlog)))
        except OSError as error:
            # A name may have an address of a family that this machine has switched off.
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                for listener in listeners:
                    listener.close()
                raise
            failure = error
    if not listeners:
        raise failure or OSError(errno.EADDRNOTAVAIL, "no address")
    return listeners


def _listen(family: int, kind: int, protocol: int, address: Any, backlog: int) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # elsewhere the option would let others steal the port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4 has a socket of its own
        sock.bind(address)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def bind_unix(path: str | os.PathLike[str], *, mode: int | None = None, backlog: int = 2048) -> Listener:
    """Listen on a Unix socket; `mode` sets its permissions (None: what the umask leaves).

    A socket file on which nobody listens any more is replaced. Raises ConfigurationError when somebody does,
    or when the file is something else.
    """
    name = os.fspath(path)
    _remove_stale(name)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(name)
        if mode is not None:
            os.chmod(name, mode)  # before anybody can connect
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise ConfigurationError(f"cannot listen on {name}: {error}") from error
    return Listener(sock, path=name)


def _remove_stale(path: str) -> None:
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise ConfigurationError(f"cannot listen on {path}: there is a file that is no socket")
    except FileNotFoundError:
        return
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        probe.setblocking(False)
        probe.connect(path)
    except ConnectionRefusedError:
        os.unlink(path)
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {path}: {error}") from error
    else:
        raise ConfigurationError(f"cannot listen on {path}: another server does")
    finally:
        probe.close()


def tune(sock: socket.socket, user_timeout: float) -> None:
    """Small writes leave at once, and a peer that acknowledges nothing for `user_timeout` seconds is given up."""
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        option = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux
        if user_timeout and option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, round(user_timeout * 1000))


async def when_readable(sock: socket.socket, call: Callable[[], None]) -> None:
    """Call `call()` whenever there is something to read from `sock`, until it raises."""
    while True:
        await anyio.wait_readable(sock)
        call()


async def accept_forever(
    listener: socket.socket,
    attach: Attach,
    *,
    user_timeout: float = 0.0,
    when_readable: Callable[[socket.socket, Callable[[], None]], Awaitable[None]] = when_readable,
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
) -> None:
    """Give every connection to `attach`, until cancelled.

    An accept that fails ends nothing: what belongs to one connection is skipped (accept(2): "treat them like
    EAGAIN"); when the system has no room we wait and try again, as the event loops' own servers do not all.
    """
    delay = FIRST_DELAY

    def accept() -> None:
        nonlocal delay
        for _ in range(BATCH):
            try:
                sock, address = listener.accept()
            except BlockingIOError:
                return
            delay = FIRST_DELAY
            try:
                sock.setblocking(False)
                tune(sock, user_timeout)  # not on the listener: who connected before would not have it
            except OSError:
                sock.close()  # gone already
                continue
            attach(sock, (address[0], address[1]) if isinstance(address, tuple) else None)

    while True:
        try:
            await when_readable(listener, accept)
        except OSError as error:
            if error.errno in EXHAUSTED:
                if delay == FIRST_DELAY:
                    logger.warning("cannot accept connections now: %s", error)
                await sleep(delay)
                delay = min(2 * delay, LONGEST_DELAY)
            elif error.errno in (errno.EBADF, errno.EINVAL, errno.ENOTSOCK):
                raise  # the listening socket itself is of no use
