"""The floor: a bare asyncio protocol that knows just enough of WebSocket, with frames made by hand.

`/` echoes; `/broadcast` sends what it gets to all. Nothing a real server needs is here: no limits, no checks.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import sys
from typing import Any

peers: set[asyncio.Transport] = set()


def frame(payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return b"\x81%c%b" % (size, payload)
    return b"\x81\x7e%b%b" % (size.to_bytes(2, "big"), payload)


class Raw(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.buffer = b""
        self.open = self.broadcasts = False

    def data_received(self, data: bytes) -> None:
        data = self.buffer + data if self.buffer else data
        if not self.open:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self.buffer = head
                return
            if head.startswith((b"POST", b"GET /http")):
                self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                return
            key = head.lower().partition(b"sec-websocket-key:")[2]
            start = len(head) - len(key)
            key = head[start:].split(b"\r\n")[0].strip()
            accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
            self.transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept
            )
            self.open = True
            self.broadcasts = b"/broadcast" in head
            peers.add(self.transport)
        at, size, answers = 0, len(data), []
        while size - at >= 6:
            length, body = data[at + 1] & 0x7F, at + 6
            if length == 126:
                length, body = int.from_bytes(data[at + 2 : at + 4], "big"), at + 8
            if size < body + length:
                break
            mask = data[body - 4 : body]
            raw = int.from_bytes(data[body : body + length], "big")
            key_int = int.from_bytes((mask * (length // 4 + 1))[:length], "big")
            answers.append(frame((raw ^ key_int).to_bytes(length, "big")))
            at = body + length
        self.buffer = data[at:]
        if not answers:
            return
        joined = b"".join(answers)
        if self.broadcasts:
            for peer in peers:
                peer.write(joined)
        else:
            self.transport.write(joined)

    def connection_lost(self, exc: Exception | None) -> None:
        peers.discard(self.transport)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Raw, "127.0.0.1", 0, backlog=8192)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if sys.argv[1:] == ["uvloop"]:
    import uvloop

    uvloop.run(main())
else:
    asyncio.run(main())
