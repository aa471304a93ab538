"""A thousand clients of both dialects on every transport, in one thread: sockets, and what they read until the end."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from selectors import EVENT_READ, DefaultSelector
from typing import Final
from urllib.parse import quote

import pytest

from tests.line import UPGRADE, frame, http

__all__ = ["COUNT", "KINDS", "crowd", "names_of", "read_all", "untold"]

COUNT: Final = 1_000
ROUNDS: Final = 500
"""Requests on one socket: hypercorn closes it after a thousand."""


@dataclass
class Kind:
    """One way to be connected, and what its client reads at the end."""

    dialect: str
    transport: str
    farewell: bytes

    @property
    def name(self) -> str:
        return f"{self.dialect} {self.transport} shutdown"


CLOSED = b"\x88\x02\x03\xe8"
AGAIN = b'{"type":7,"allowReconnect":true}\x1e'
KINDS: Final = (
    Kind("classic", "webSockets", CLOSED),
    Kind("classic", "serverSentEvents", b"0\r\n\r\n"),
    Kind("classic", "foreverFrame", b"0\r\n\r\n"),
    Kind("classic", "longPolling", b'"T":1'),
    Kind("aspnetcore", "webSockets", CLOSED),
    Kind("aspnetcore", "serverSentEvents", b"0\r\n\r\n"),
    Kind("aspnetcore", "longPolling", b"HTTP/1.1 204"),
    Kind("hub", "webSockets", AGAIN),
)


class Client:
    """Two sockets: one carries the connection, one is for requests, and is given back."""

    def __init__(self, port: int, asking: socket.socket, kind: Kind) -> None:
        self.kind = kind
        self.read = b""
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._asking = asking
        if kind.dialect == "classic":
            self._connect_classic()
        else:
            self._connect_aspnetcore("/hall" if kind.dialect == "hub" else "/echo")

    def _ask(self, target: str, method: str = "GET") -> bytes:
        self._asking.sendall(http(target, *(["Content-Length: 0"] if method == "POST" else []), method=method))
        return _answer(self._asking)

    def _connect_classic(self) -> None:
        negotiated = json.loads(self._ask("/echo/negotiate?clientProtocol=2.1"))
        token = quote(negotiated["ConnectionToken"], safe="")
        query = f"transport={self.kind.transport}&clientProtocol=2.1&connectionToken={token}&frameId=1"
        self._open(f"/echo/connect?{query}", until=b'"S":1')
        assert b"started" in self._ask(f"/echo/start?{query}")
        if self.kind.transport == "longPolling":
            cursor = json.loads(self.read.partition(b"\r\n\r\n")[2])["C"]
            self.socket.sendall(http(f"/echo/poll?{query}&messageId={quote(cursor)}"))
        self.read = b""

    def _connect_aspnetcore(self, path: str) -> None:
        negotiated = json.loads(self._ask(f"{path}/negotiate?negotiateVersion=1", "POST"))
        target = f"{path}?id={quote(negotiated['connectionToken'], safe='')}"
        if self.kind.transport == "longPolling":
            self._open(target, until=b"\r\n\r\n")
            self.socket.sendall(http(target))
        else:
            self._open(target, until=b"\r\n\r\n")
        if self.kind.dialect == "hub":
            self.socket.sendall(frame('{"protocol":"json","version":1}\x1e'))
            self._until(b"{}\x1e")
        self.read = b""

    def _open(self, target: str, until: bytes) -> None:
        more = {"webSockets": UPGRADE, "serverSentEvents": ("Accept: text/event-stream",)}.get(self.kind.transport, ())
        self.socket.sendall(http(target, *more))
        self._until(until)

    def _until(self, wanted: bytes) -> None:
        while wanted not in self.read:
            data = self.socket.recv(65_536)
            assert data, self.read
            self.read += data


def _answer(sock: socket.socket) -> bytes:
    """The body of one answer."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += sock.recv(65_536)
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    (length,) = [int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
    while len(body) < length:
        body += sock.recv(65_536)
    return body


def read_all(clients: list[Client]) -> None:
    """Until the server has closed every socket; a client answers the end of a WebSocket."""
    with DefaultSelector() as selector:
        for client in clients:
            selector.register(client.socket, EVENT_READ, client)
        while selector.get_map():
            ready = selector.select(10)
            assert ready, f"{len(selector.get_map())} clients still wait"
            for key, _ in ready:
                client = key.data
                try:
                    data = client.socket.recv(65_536)
                except ConnectionResetError:
                    data = b""
                client.read += data
                if CLOSED in data and client.kind.transport == "webSockets":
                    client.socket.sendall(b"\x88\x82\x00\x00\x00\x00\x03\xe8")
                if not data:
                    selector.unregister(client.socket)


@contextmanager
def crowd(port: int, count: int = COUNT) -> Iterator[list[Client]]:
    """So many, of all kinds in turn. They need files: the limit is raised, where that can be done."""
    resource = pytest.importorskip("resource", reason="platform: no limits of open files to look at")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count + 200:
        pytest.skip(f"platform: no more than {hard} files may be open")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(4_096, hard)), hard))
    clients: list[Client] = []
    try:
        kinds = islice(cycle(KINDS), count)
        while some := list(islice(kinds, ROUNDS // 2)):
            with socket.create_connection(("127.0.0.1", port)) as asking:
                clients.extend(Client(port, asking, kind) for kind in some)
        yield clients
    finally:
        for client in clients:
            client.socket.close()


def names_of(clients: list[Client]) -> Counter[str]:
    """How many of each kind there are."""
    return Counter(client.kind.name for client in clients)


def untold(clients: list[Client]) -> Counter[str]:
    """How many of each kind have not read what their dialect says on their transport when the server goes."""
    return names_of([client for client in clients if client.kind.farewell not in client.read])
