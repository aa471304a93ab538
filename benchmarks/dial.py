"""Opens connections the way each contender's clients do, as plain sockets for the load generator."""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import quote

__all__ = [
    "Asking",
    "Dial",
    "HttpClient",
    "Talk",
    "Wire",
    "aiosignalr",
    "aspnetcore",
    "attend",
    "classic",
    "classic_http",
    "classic_stream",
    "connect",
    "engineio_http",
    "hubs",
    "plain",
    "raw_http",
    "socketio",
]

_UPGRADE = (
    "GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
NUMBER = "{NNNNNN}"
"""Where the load generator puts a message's number into a request."""


class Asking:
    """A kept-alive HTTP connection for what clients ask before they are connected. Opened when first used."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def __call__(self, method: str, target: str) -> bytes:
        """The body of the answer; ConnectionError unless it is 200."""
        if self._socket is None:
            self._socket = connect(self._port)
        self._socket.sendall(_request(method, target, self._port).encode())
        data = b""
        while b"\r\n\r\n" not in data:
            data += _some(self._socket)
        head, _, body = data.partition(b"\r\n\r\n")
        if b" 200 " not in head.splitlines()[0]:
            raise ConnectionError(f"{target.partition('?')[0]}: {head.splitlines()[0]!r}")
        if b"transfer-encoding: chunked" in head.lower():
            while not body.endswith(b"\r\n0\r\n\r\n"):
                body += _some(self._socket)
            return b"".join(body.split(b"\r\n")[1:-3:2])  # the chunks of these servers hold no line ends
        size = int(head.lower().partition(b"content-length:")[2].splitlines()[0])
        while len(body) < size:
            body += _some(self._socket)
        return body

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()


Dial: TypeAlias = "Callable[[int, str, Asking], socket.socket]"
"""port, room, asking. A room is `echo`, `broadcast` or `group/NAME`; `group/NAME?others=3` is in three more groups."""


@dataclass(frozen=True)
class Wire:
    """How to connect, and what to put around a message."""

    dial: Dial
    prefix: str = ""
    suffix: str = ""
    trigger: Dial | None = None
    """For a transport that cannot send: how the first connection, which does, is opened."""


@dataclass(frozen=True)
class HttpClient:
    """What one client says over HTTP, again and again."""

    send: str
    poll: str = ""


Talk: TypeAlias = "Callable[[int, str, str, Asking], HttpClient]"
"""port, room (`echo`: what is sent comes back with a poll; `sink`: nothing comes back), filler, asking."""


def connect(port: int) -> socket.socket:
    """TCP, with TCP_NODELAY."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=20)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def plain(port: int, room: str, asking: Asking) -> socket.socket:
    """A bare WebSocket."""
    return _upgraded(port, f"/{room.partition('?')[0]}")[0]


def classic(port: int, room: str, asking: Asking, transport: str = "webSockets", data: str = "") -> socket.socket:
    """A classic SignalR connection: negotiate, connect, start."""
    route, _, group = room.partition("/")
    query = _classic_query(route, transport, asking, data)
    if group:
        query += f"&group={group.replace('?', '&')}"  # as with the clients' `qs`: a part of every request
    if transport == "webSockets":
        sock, rest = _upgraded(port, f"/{route}/connect?{query}")
    else:
        sock, rest = connect(port), b""
        sock.sendall(_request("GET", f"/{route}/connect?{query}", port).encode())
    while b'"S":1' not in rest:
        rest += _some(sock)
    asking("GET", f"/{route}/start?{query}")
    return sock


def classic_stream(port: int, room: str, asking: Asking) -> socket.socket:
    """The same over server-sent events."""
    return classic(port, room, asking, "serverSentEvents")


def hubs(port: int, room: str, asking: Asking) -> socket.socket:
    """A classic SignalR connection that uses a hub."""
    return classic(port, "hubs", asking, data='[{"name":"bench"}]')


def socketio(port: int, room: str, asking: Asking) -> socket.socket:
    """An Engine.IO WebSocket with a Socket.IO connection in it."""
    group = room.partition("/")[2]
    more = f"&group={group}" if group else ""
    sock, rest = _upgraded(port, f"/socket.io/?EIO=4&transport=websocket{more}")
    while b'0{"sid"' not in rest:
        rest += _some(sock)
    sock.sendall(_frame(b"40"))
    rest = b""
    while b'40{"sid"' not in rest:
        rest += _some(sock)
    return sock


def aspnetcore(port: int, room: str, asking: Asking, path: str = "/hubs") -> socket.socket:
    """An ASP.NET Core SignalR connection to a hub: negotiate, WebSocket, handshake."""
    group = room.partition("/")[2]
    answer = json.loads(asking("POST", f"{path}/negotiate?negotiateVersion=1"))
    sock, rest = _upgraded(port, f"{path}?id={answer['connectionToken']}")
    sock.sendall(_frame(b'{"protocol":"json","version":1}\x1e'))
    while b"{}\x1e" not in rest:
        rest += _some(sock)
    if group:
        sock.sendall(_frame(b'{"type":1,"invocationId":"0","target":"join","arguments":["%b"]}\x1e' % group.encode()))
        while b'"result":true' not in rest:
            rest += _some(sock)
    return sock


def aiosignalr(port: int, room: str, asking: Asking) -> socket.socket:
    """The same, to the other one that speaks this protocol."""
    return aspnetcore(port, room, asking, "/hub")


def attend(sockets: Sequence[socket.socket], seconds: float) -> None:
    """Be an idle client for so long: answer the pings of WebSocket and of Engine.IO, drop everything else."""
    with selectors.DefaultSelector() as selector:
        for one in sockets:
            selector.register(one, selectors.EVENT_READ)
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                data = _some(sock)
                while len(data) >= 2:  # what a server says to an idle client is short, and comes in whole frames
                    kind, size = data[0], data[1]
                    payload, data = data[2 : 2 + size], data[2 + size :]
                    if kind == 0x89:
                        sock.sendall(b"\x8a" + _frame(payload)[1:])
                    elif payload == b"2":
                        sock.sendall(_frame(b"3"))


def raw_http(port: int, room: str, filler: str, asking: Asking) -> HttpClient:
    """Requests that the raw server knows by name; each client has a name of its own."""
    _names.append(len(_names))
    name = _names[-1]
    body = f"#{NUMBER}#{filler}"
    return HttpClient(_request("POST", f"/send/{name}", port, body), _request("GET", f"/poll/{name}", port))


_names: list[int] = []


def classic_http(port: int, room: str, filler: str, asking: Asking) -> HttpClient:
    """A classic SignalR connection over long polling."""
    query = _classic_query(room, "longPolling", asking)
    first = json.loads(asking("GET", f"/{room}/connect?{query}"))
    asking("GET", f"/{room}/start?{query}")
    form = f"data=%22%23{NUMBER}%23{filler}%22"
    poll = _request("GET", f"/{room}/poll?{query}&messageId={{C}}", port)
    return HttpClient(_request("POST", f"/{room}/send?{query}", port, form), f"{poll}\n{{C}}={first['C']}")


def engineio_http(port: int, room: str, filler: str, asking: Asking) -> HttpClient:
    """An Engine.IO session over polling."""
    opened = asking("GET", "/engine.io/?EIO=4&transport=polling").decode()
    target = f"/engine.io/?EIO=4&transport=polling&sid={json.loads(opened[1:])['sid']}"
    body = f"4{'!' if room == 'sink' else ''}#{NUMBER}#{filler}"
    return HttpClient(_request("POST", target, port, body), _request("GET", target, port))


def _classic_query(route: str, transport: str, asking: Asking, data: str = "") -> str:
    asked = "clientProtocol=2.1" + (f"&connectionData={quote(data)}" if data else "")
    answer = json.loads(asking("GET", f"/{route}/negotiate?{asked}"))
    return f"transport={transport}&{asked}&connectionToken={quote(answer['ConnectionToken'])}"


def _request(method: str, target: str, port: int, body: str = "") -> str:
    head = f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
    if method == "POST":
        kind = "application/x-www-form-urlencoded" if body.startswith("data=") else "text/plain"
        head += f"Content-Type: {kind}; charset=UTF-8\r\nContent-Length: {len(body)}\r\n"
    return f"{head}\r\n{body}"


def _frame(payload: bytes) -> bytes:
    """A short masked text frame; the mask is zero."""
    return b"\x81%c\x00\x00\x00\x00%b" % (0x80 | len(payload), payload)


def _upgraded(port: int, target: str) -> tuple[socket.socket, bytes]:
    sock = connect(port)
    sock.sendall(_UPGRADE.format(target=target, port=port).encode())
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(sock)
    head, _, rest = data.partition(b"\r\n\r\n")
    if b" 101 " not in head.splitlines()[0]:
        raise ConnectionError(f"no WebSocket at {target.partition('?')[0]}: {head.splitlines()[0]!r}")
    return sock, rest


def _some(sock: socket.socket) -> bytes:
    data = sock.recv(65_536)
    if not data:
        raise ConnectionError("the server closed the connection")
    return data
