"""The long polling transport: an envelope is an answer."""

from __future__ import annotations

from persistconn.wire.http import Chunk
from persistconn.wire.transports import LONG_POLLING, jsonp_polling


def test_an_envelope_is_the_answer_and_spaces_keep_it_alive() -> None:
    assert LONG_POLLING.name == "longPolling"
    assert not LONG_POLLING.duplex
    assert not LONG_POLLING.streaming
    assert LONG_POLLING.head.status == 200
    assert (b"Content-Type", b"application/json; charset=UTF-8") in LONG_POLLING.head.headers
    assert LONG_POLLING.opening == ()
    assert LONG_POLLING.frame(b'{"C":"e-1","M":[]}') == Chunk(b'{"C":"e-1","M":[]}')
    assert LONG_POLLING.keep_alive == Chunk(b" ")


def test_jsonp_calls_back_and_is_silent_until_then() -> None:
    framing = jsonp_polling("rückruf.é")
    assert framing.name == "longPolling"
    assert not framing.duplex
    assert not framing.streaming
    assert (b"Content-Type", b"application/javascript; charset=UTF-8") in framing.head.headers
    assert framing.frame(b'{"C":"e-1","M":[]}') == Chunk('rückruf.é({"C":"e-1","M":[]});'.encode())
    assert framing.keep_alive is None
