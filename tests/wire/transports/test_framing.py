"""A framing is a value that says how to write, and can be a key."""

from __future__ import annotations

from persistconn.wire.transports import EVENT_STREAM, LONG_POLLING
from persistconn.wire.transports.framing import Framing, numbered, streaming_head


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


def test_what_is_counted_for_each_connection_is_not_handed_to_all_at_once() -> None:
    counted = numbered(EVENT_STREAM)
    assert (EVENT_STREAM.numbered, EVENT_STREAM.alike) == (False, True)
    assert (counted.numbered, counted.alike) == (True, False)
    assert counted.frame is EVENT_STREAM.frame
    assert numbered(EVENT_STREAM) is counted
