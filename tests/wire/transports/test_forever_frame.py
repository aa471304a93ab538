"""The forever frame: a document that calls its parent once per envelope."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistconn.errors import RemoteProtocolError
from persistconn.wire.http import Chunk
from persistconn.wire.transports import escape_markup, forever_frame


def test_a_document_opens_and_each_envelope_is_a_script() -> None:
    framing = forever_frame("7")
    assert framing.name == "foreverFrame"
    assert framing.streaming
    assert not framing.duplex
    assert (b"Content-Type", b"text/html; charset=UTF-8") in framing.head.headers
    (document,) = framing.opening
    assert isinstance(document, Chunk)
    assert document.data.startswith(b"<!DOCTYPE html>")
    assert b'getConnection("7")' in document.data
    assert document.data.endswith(b"</head><body>\n")
    assert framing.frame(b'{"C":"e-0","S":1,"M":[]}') == Chunk(b'<script>put({"C":"e-0","S":1,"M":[]});</script>\n')
    assert framing.keep_alive == Chunk(b"<script>put({});</script>\n")


def test_all_frames_share_their_bytes() -> None:
    assert forever_frame("1").frame is forever_frame("2").frame
    assert forever_frame("1").head is forever_frame("2").head


@pytest.mark.parametrize(("frame_id", "written"), [("0", b'"0"'), ("4294967295", b'"4294967295"'), ("007", b'"7"')])
def test_frames_are_numbered_with_32_bits(frame_id: str, written: bytes) -> None:
    (document,) = forever_frame(frame_id).opening
    assert isinstance(document, Chunk)
    assert written in document.data


@pytest.mark.parametrize(
    "frame_id", ["", "-1", "+1", " 1", "1 ", "1\n", "1,0", "0x1", "4294967296", "9" * 5000, "١", '");x("']
)
def test_any_other_frame_id_is_refused(frame_id: str) -> None:
    with pytest.raises(RemoteProtocolError, match=r"^The supplied frameId is in the incorrect format\.$") as caught:
        forever_frame(frame_id)
    assert caught.value.status == 500


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5))
def test_no_text_ends_the_script_and_none_is_lost(value: object) -> None:
    escaped = escape_markup(json.dumps(value).encode())
    assert b"<" not in escaped
    assert b">" not in escaped
    assert json.loads(escaped) == value


def test_strings_cannot_end_the_script() -> None:
    framed = forever_frame("1").frame(b'{"C":"e-1","M":["</script><script>alert(1)"]}')
    assert framed == Chunk(
        b'<script>put({"C":"e-1","M":["\\u003c/script\\u003e\\u003cscript\\u003ealert(1)"]});</script>\n'
    )
