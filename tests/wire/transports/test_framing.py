"""A framing is a value that says how to write, and can be a key."""

from __future__ import annotations

from persistconn.wire.transports import EVENT_STREAM, LONG_POLLING
from persistconn.wire.transports.framing import Framing, streaming_head


def test_a_streamed_answer_is_not_guessed_kept_or_held_back() -> None:
    assert streaming_head(b"text/plain").headers == (
        (b"Content-Type", b"text/plain"),
        (b"X-Content-Type-Options", b"nosniff"),
        (b"Cache-Control", b"no-cache, no-store"),
        (b"X-Accel-Buffering", b"no"),
    )


def test_framings_can_be_told_apart() -> None:
    seen: dict[Framing, str] = {EVENT_STREAM: "stream", LONG_POLLING: "poll"}
    assert seen[EVENT_STREAM] == "stream"
    assert repr(LONG_POLLING) == "<Framing longPolling>"
