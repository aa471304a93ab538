"""What WebSocket clients send: frames, closes, and streams of them for hypothesis."""

from __future__ import annotations

import struct

from hypothesis import strategies as st

from persistconn.settings import Settings

KEY = b"\x37\xfa\x21\x3d"
TEXT, BINARY, MORE, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
GENEROUS = Settings(max_message_size=None, max_fragments=1_000_000, max_control_frames=1_000_000)


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True, width: int | None = None
) -> bytes:
    """A client's frame; `width` forces the length into 0, 2 or 8 further bytes."""
    size = len(payload)
    width = (0 if size < 126 else 2 if size < 65_536 else 8) if width is None else width
    short = {0: size, 2: 126, 8: 127}[width]
    head = bytes((fin << 7 | rsv << 4 | opcode, masked << 7 | short))
    head += size.to_bytes(width, "big") if width else b""
    if not masked:
        return head + payload
    mask = int.from_bytes((KEY * (size // 4 + 1))[:size], "big")
    return head + KEY + (int.from_bytes(payload, "big") ^ mask).to_bytes(size, "big")


def close(code: int | None = None, reason: bytes = b"") -> bytes:
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason)


PAYLOADS = st.one_of(
    st.binary(max_size=20),
    st.text(max_size=20).map(str.encode),
    st.sampled_from([b"x" * 125, b"x" * 126, b"x" * 300, b"\xff", b"\xc3", "äö".encode(), b"x" * 65_536]),
)
GOOD = st.builds(frame, st.sampled_from([TEXT, BINARY]), st.text(max_size=40).map(str.encode))
CONTROL = st.builds(frame, st.sampled_from([PING, PONG]), st.binary(max_size=125))
CLOSES = st.builds(close, st.one_of(st.none(), st.integers(990, 1020), st.integers(0, 65_535)), st.binary(max_size=9))
MESSAGE_IN_PARTS = st.builds(
    lambda text, between: (
        frame(TEXT, text[:3], fin=False) + between + frame(MORE, text[3:7], fin=False) + between + frame(MORE, text[7:])
    ),
    st.text(max_size=20).map(str.encode),
    st.one_of(st.just(b""), CONTROL),
)
ODD = st.builds(
    frame,
    st.integers(0, 15),
    PAYLOADS.filter(lambda payload: len(payload) < 126),
    fin=st.booleans(),
    rsv=st.sampled_from([0, 0, 0, 1, 2, 4, 7]),
    masked=st.sampled_from([True, True, True, False]),
    width=st.sampled_from([None, None, 0, 2, 8]),
)
DATA = st.builds(frame, st.sampled_from([TEXT, BINARY, MORE]), PAYLOADS, fin=st.booleans())
STREAMS = st.lists(st.one_of(GOOD, GOOD, CONTROL, MESSAGE_IN_PARTS, DATA, ODD, CLOSES), max_size=8).map(b"".join)
CUTS = st.lists(st.integers(0, 1_000_000), max_size=12)
