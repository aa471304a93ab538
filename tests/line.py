"""A connection without a socket: what a client says goes into a channel, and what comes out is kept."""

from __future__ import annotations

import anyio.lowlevel

from persistconn.drivers.channel import Channel
from persistconn.drivers.state import ServerState

__all__ = ["UPGRADE", "Line", "frame", "http", "settle"]

UPGRADE = (
    "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)  # fmt: skip


class Line(Channel):
    """A channel over nothing."""

    __slots__ = ("blocked", "last", "writes", "written")

    def __init__(self, state: ServerState) -> None:
        super().__init__(state, client=("192.0.2.1", 1000))
        self.written = b""
        """All that was written and has not been taken."""
        self.last = b""
        """What was written last."""
        self.writes = 0
        self.blocked = False
        """The peer takes nothing."""

    def write(self, data: bytes) -> bool:
        self.writes += 1
        self.last = data
        self.written += data
        return not self.blocked

    def unwritten(self) -> int:
        return 0

    def finish(self, *, linger: bool) -> None:
        self.connection_lost()

    def cut(self) -> None:
        self.connection_lost()

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def take(self) -> bytes:
        written, self.written = self.written, b""
        return written


async def settle(rounds: int = 30) -> None:
    """Let everything happen that can."""
    for _ in range(rounds):
        await anyio.lowlevel.checkpoint()


def http(target: str, *headers: str, method: str = "GET", body: bytes = b"") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: example.org", *headers]
    if body:
        lines += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def frame(said: str | bytes, mask: bytes = b"\x01\x02\x03\x04") -> bytes:
    """A client's frame: text, or binary for bytes."""
    data = said.encode() if isinstance(said, str) else said
    masked = bytearray(data)
    for at, byte in enumerate(mask):
        masked[at::4] = data[at::4].translate(_XOR[byte])
    if len(data) < 126:
        size = bytes((0x80 | len(data),))
    elif len(data) < 65_536:
        size = b"\xfe" + len(data).to_bytes(2, "big")
    else:
        size = b"\xff" + len(data).to_bytes(8, "big")
    return (b"\x81" if isinstance(said, str) else b"\x82") + size + mask + masked


_XOR = {byte: bytes(one ^ byte for one in range(256)) for byte in (1, 2, 3, 4)}
