"""The floor: a bare asyncio protocol that knows just enough of WebSocket and HTTP, with frames made by hand.

`/echo` echoes; what comes at another path goes to all who are there. `GET /poll/N` waits for what `POST /send/N`
brings. Nothing a real server needs is here: no limits, no checks.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import sys
from typing import Any

from .listening import listen
from .rooms import rooms

held: dict[bytes, asyncio.Transport] = {}
early: dict[bytes, bytes] = {}
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"


def frame(payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return b"\x81%c%b" % (size, payload)
    return b"\x81\x7e%b%b" % (size.to_bytes(2, "big"), payload)


class Raw(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.buffer = b""
        self.open = self.echoes = False
        self.peers: set[asyncio.Transport] = set()

    def data_received(self, data: bytes) -> None:
        data = self.buffer + data if self.buffer else data
        if not self.open:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self.buffer = head
                return
            if b"Upgrade" not in head:
                self.request(head, data)
                return
            self.upgrade(head)
        at, size, answers = 0, len(data), []
        while size - at >= 6:
            length, body = data[at + 1] & 0x7F, at + 6
            if length == 126:
                length, body = int.from_bytes(data[at + 2 : at + 4], "big"), at + 8
            if size < body + length:
                break
            mask = data[body - 4 : body]
            raw = int.from_bytes(data[body : body + length], "big")
            key = int.from_bytes((mask * (length // 4 + 1))[:length], "big")
            answers.append(frame((raw ^ key).to_bytes(length, "big")))
            at = body + length
        self.buffer = data[at:]
        if not answers:
            return
        joined = b"".join(answers)
        if self.echoes:
            self.transport.write(joined)
        else:
            for peer in self.peers:
                peer.write(joined)

    def upgrade(self, head: bytes) -> None:
        key = head.partition(b"Sec-WebSocket-Key: ")[2].split(b"\r\n")[0]
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        self.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept
        )
        path = head.split(b" ", 2)[1].decode()
        self.open, self.echoes = True, path == "/echo"
        self.peers = rooms[path]
        self.peers.add(self.transport)

    def request(self, head: bytes, body: bytes) -> None:
        method, path, _ = head.split(b" ", 2)
        name = path.rpartition(b"/")[2]
        if method == b"POST":
            self.transport.write(ANSWER % (2, b"{}"))
            poll = held.pop(name, None)
            if poll is None:
                early[name] = body
            else:
                poll.write(ANSWER % (len(body), body))
        elif name in early:
            body = early.pop(name)
            self.transport.write(ANSWER % (len(body), body))
        else:
            held[name] = self.transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.peers.discard(self.transport)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Raw, sock=listen(), backlog=8192)
    await server.serve_forever()


if sys.argv[1:] == ["uvloop"]:
    import uvloop

    uvloop.run(main())
else:
    asyncio.run(main())
