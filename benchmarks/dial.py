"""Opens connections the way each contender's clients do, as plain sockets for the load generator."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import quote

__all__ = ["Dial", "Wire", "classic", "classic_stream", "plain", "socketio"]

Dial: TypeAlias = "Callable[[int, str], socket.socket]"

_UPGRADE = (
    "GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@dataclass(frozen=True)
class Wire:
    """How to connect, and what to put around a message."""

    dial: Dial
    prefix: str = ""
    suffix: str = ""
    trigger: Dial | None = None
    """For a transport that cannot send: how the first connection, which does, is opened."""


def plain(port: int, path: str) -> socket.socket:
    """A bare WebSocket."""
    return _upgraded(port, path)[0]


def classic(port: int, path: str, transport: str = "webSockets") -> socket.socket:
    """A classic SignalR connection: negotiate, connect, start."""
    asking = _connected(port)
    with asking:
        answer = json.loads(_get(asking, port, f"{path}/negotiate?clientProtocol=2.1"))
        token = quote(answer["ConnectionToken"])
        query = f"transport={transport}&clientProtocol=2.1&connectionToken={token}"
        if transport == "webSockets":
            sock, rest = _upgraded(port, f"{path}/connect?{query}")
        else:
            sock, rest = _connected(port), b""
            sock.sendall(f"GET {path}/connect?{query} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        while b'"S":1' not in rest:
            rest += _some(sock)
        _get(asking, port, f"{path}/start?{query}")
    return sock


def classic_stream(port: int, path: str) -> socket.socket:
    """The same over server-sent events."""
    return classic(port, path, "serverSentEvents")


def socketio(port: int, path: str) -> socket.socket:
    """An Engine.IO WebSocket with a Socket.IO connection in it."""
    sock, rest = _upgraded(port, "/socket.io/?EIO=4&transport=websocket")
    while b'0{"sid"' not in rest:
        rest += _some(sock)
    sock.sendall(b"\x81\x82\x00\x00\x00\x0040")
    rest = b""
    while b'40{"sid"' not in rest:
        rest += _some(sock)
    return sock


def _connected(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=20)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _upgraded(port: int, target: str) -> tuple[socket.socket, bytes]:
    sock = _connected(port)
    sock.sendall(_UPGRADE.format(target=target, port=port).encode())
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(sock)
    head, _, rest = data.partition(b"\r\n\r\n")
    if b" 101 " not in head.splitlines()[0]:
        raise ConnectionError(f"no WebSocket at {target.partition('?')[0]}: {head.splitlines()[0]!r}")
    return sock, rest


def _get(sock: socket.socket, port: int, target: str) -> bytes:
    sock.sendall(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(sock)
    head, _, body = data.partition(b"\r\n\r\n")
    if b" 200 " not in head.splitlines()[0]:
        raise ConnectionError(f"{target.partition('?')[0]}: {head.splitlines()[0]!r}")
    size = int(head.lower().partition(b"content-length:")[2].splitlines()[0])
    while len(body) < size:
        body += _some(sock)
    return body


def _some(sock: socket.socket) -> bytes:
    data = sock.recv(65_536)
    if not data:
        raise ConnectionError("the server closed the connection")
    return data
