"""The WebSocket transport: an envelope is a text message."""

from __future__ import annotations

from persistconn.wire.http import Head, Message
from persistconn.wire.transports import WEBSOCKETS


def test_envelopes_and_keep_alives_are_text_messages() -> None:
    assert WEBSOCKETS.name == "webSockets"
    assert WEBSOCKETS.duplex
    assert WEBSOCKETS.streaming
    assert WEBSOCKETS.head == Head(101)
    assert WEBSOCKETS.opening == ()
    assert WEBSOCKETS.frame(b'{"C":"e-0","S":1,"M":[]}') == Message('{"C":"e-0","S":1,"M":[]}')
    assert WEBSOCKETS.keep_alive == Message("{}")
