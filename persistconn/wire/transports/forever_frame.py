"""Framing of the forever frame: a document in a hidden frame that never ends, one script element per envelope."""

from __future__ import annotations

import re
from typing import Final

from ...errors import RemoteProtocolError
from ..http import Chunk
from .framing import Framing, streaming_head

__all__ = ["escape_markup", "forever_frame"]

_HEAD: Final = streaming_head(b"text/html; charset=UTF-8")
_DOCUMENT: Final = """<!DOCTYPE html>
<html><head><title>Forever frame</title><script>
var jq = window.parent.jQuery,
    transport = jq && jq.signalR ? jq.signalR.transports.foreverFrame : null,
    connection = transport ? transport.getConnection("%d") : null;
function put(envelope) { if (connection) { transport.receive(connection, envelope); } }
if (connection) { transport.started(connection); }
</script></head><body>
"""
_NUMBER: Final = re.compile(r"[0-9]{1,10}", re.ASCII)


def escape_markup(json: bytes) -> bytes:
    """JSON without `<` and `>`, so that no string in it can end the script element it stands in.

    >>> escape_markup(b'["</script>"]')
    b'["\\\\u003c/script\\\\u003e"]'
    """
    return json.replace(b"<", b"\\u003c").replace(b">", b"\\u003e")


def _frame(envelope: bytes) -> Chunk:
    return Chunk(b"<script>put(%b);</script>\n" % escape_markup(envelope))


_KEEP_ALIVE: Final = _frame(b"{}")


def forever_frame(frame_id: str) -> Framing:
    """The framing for the frame that its client numbered `frame_id`, an unsigned 32-bit decimal.

    Raises RemoteProtocolError with the genuine server's status and text for anything else.
    """
    if not _NUMBER.fullmatch(frame_id) or int(frame_id) > 0xFFFFFFFF:
        raise RemoteProtocolError("The supplied frameId is in the incorrect format.", status=500)
    return Framing(
        name="foreverFrame",
        duplex=False,
        streaming=True,
        head=_HEAD,
        opening=(Chunk((_DOCUMENT % int(frame_id)).encode()),),
        frame=_frame,
        keep_alive=_KEEP_ALIVE,
    )
