"""The bytes of a client: requests, answers read to their end or as they stream, WebSocket frames. It blocks."""

from __future__ import annotations

import re
import select
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

__all__ = ["Ended", "Wire", "frame"]

UPGRADE: Final = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
_TCP: Final = (socket.AF_INET, socket.AF_INET6)
_LENGTH: Final = re.compile(rb"content-length: *(\d+)")


class Ended(ConnectionError):
    """The server ended the connection."""


def frame(data: str | bytes, opcode: int = 1) -> bytes:
    """A masked frame, as a client sends it. The mask is of zeros, so that the bytes are seen as they are."""
    data = data.encode() if isinstance(data, str) else data
    size = len(data)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65_536:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
    return head + bytes(4) + data


class Wire:
    """One socket. Every wait ends with TimeoutError after `patience` seconds."""

    def __init__(self, sock: socket.socket, patience: float) -> None:
        sock.settimeout(patience)
        if sock.family in _TCP:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.buffer = bytearray()
        self.answers_pings = True
        self.chunked = False
        self._length = 0
        self._closed = False

    def send(self, data: bytes | str) -> None:
        """Say all of it."""
        self.sock.sendall(data.encode() if isinstance(data, str) else data)

    def push(self, data: bytes, rest: float) -> int:
        """Send as much as is taken until nothing is taken for `rest` seconds. Gives how much was."""
        done = 0
        self.sock.setblocking(False)
        try:
            while done < len(data) and select.select([], [self.sock], [], rest)[1]:
                done += self.sock.send(data[done:])
        finally:
            self.sock.settimeout(None)
        return done

    def request(self, method: str, target: str, body: str = "", headers: str = "") -> None:
        """Ask, and leave the answer for later."""
        kind = "Content-Type: application/x-www-form-urlencoded\r\n" if "=" in body else ""
        length = f"{kind}Content-Length: {len(body)}\r\n" if method == "POST" else ""
        self.send(f"{method} {target} HTTP/1.1\r\nHost: contract\r\n{length}{headers}\r\n{body}")

    def head(self) -> int:
        """The status of the answer that comes."""
        head = bytes(self.until(b"\r\n\r\n")).lower()
        self.chunked = b"transfer-encoding: chunked" in head
        found = _LENGTH.search(head)
        self._length = int(found[1]) if found else 0
        return int(head.split(b" ", 2)[1])

    def answer(self) -> tuple[int, bytes]:
        """The status and the whole body of the answer that comes."""
        status = self.head()
        body = b"".join(self.chunks()) if self.chunked else bytes(self.exactly(self._length))
        return status, body

    def ask(self, method: str, target: str, body: str = "", headers: str = "") -> tuple[int, bytes]:
        """A request and its answer."""
        self.request(method, target, body, headers)
        return self.answer()

    def chunk(self) -> bytes:
        """The next part of a body that streams; empty: it is over."""
        if not self.chunked:  # up to the end of the connection
            if not self.buffer:
                self._more()
            taken, self.buffer = bytes(self.buffer), bytearray()
            return taken
        size = int(self.until(b"\r\n").split(b";")[0], 16)
        data = bytes(self.exactly(size))
        self.until(b"\r\n")
        return data

    def chunks(self) -> Iterator[bytes]:
        """All that are left."""
        while data := self.chunk():
            yield data

    def hear(self) -> str:
        """The next WebSocket message. Pings are answered, unless `answers_pings` was taken back; Ended: it is over."""
        while True:
            opcode, data = self.frame()
            if opcode in (1, 2):
                return data.decode()
            if opcode == 9 and self.answers_pings:
                self.send(frame(data, 10))
            elif opcode == 8:
                if not self._closed:
                    self.say_goodbye(data)
                raise Ended(f"the WebSocket was closed with {int.from_bytes(data[:2], 'big')}")

    def say_goodbye(self, data: bytes = b"\x03\xe8") -> None:
        """The close frame of a client; a server that has closed its socket already does not hear it."""
        self._closed = True
        with suppress(ConnectionError):
            self.send(frame(data, 8))

    def frame(self) -> tuple[int, bytes]:
        """The next frame: what it is, and what is in it."""
        first, size = self.exactly(2)
        if size == 126:
            size = int.from_bytes(self.exactly(2), "big")
        elif size == 127:
            size = int.from_bytes(self.exactly(8), "big")
        return first & 15, bytes(self.exactly(size))

    def until(self, mark: bytes) -> bytearray:
        """What comes, up to and with `mark`."""
        while (at := self.buffer.find(mark)) < 0:
            self._more()
        return self.exactly(at + len(mark))

    def exactly(self, size: int) -> bytearray:
        """The next bytes, so many."""
        while len(self.buffer) < size:
            self._more()
        taken = self.buffer[:size]
        del self.buffer[:size]
        return taken

    def rest(self) -> bytes:
        """All that comes until the server ends the connection. TimeoutError: it does not."""
        try:
            while True:
                self._more()
        except ConnectionError:
            return bytes(self.buffer)

    def close_half(self) -> None:
        """Say no more, and listen on."""
        self.sock.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        """Go without a word: a reset, where the socket has that."""
        if self.sock.family in _TCP:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def _more(self) -> None:
        data = self.sock.recv(1_048_576)
        if not data:
            raise Ended("the server ended the connection")
        self.buffer += data
