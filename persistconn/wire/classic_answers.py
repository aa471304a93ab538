"""What a classic server says: envelopes, the answers to negotiate, ping and start, errors. ASCII-only JSON.

ASCII, because clients in the field decode UTF-8 piece by piece and break characters that are cut.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

import msgspec

from ..errors import RemoteProtocolError
from ..settings import Settings
from .classic import ProtocolVersion
from .http import Chunk, End, Head, Piece, RawHeaders

__all__ = [
    "aborted",
    "empty_answer",
    "envelope",
    "json_answer",
    "negotiate_answer",
    "plain_envelope",
    "pong",
    "refusal",
    "started",
    "text_answer",
]

_HEADERS: Final[RawHeaders] = (
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Cache-Control", b"no-cache, no-store"),
)
_JSON: Final = (b"Content-Type", b"application/json; charset=UTF-8")
_SCRIPT: Final = (b"Content-Type", b"application/javascript; charset=UTF-8")
_TEXT: Final = (b"Content-Type", b"text/plain; charset=utf-8")
_END: Final = End()
_JSON_HEAD: Final = Head(200, (_JSON, *_HEADERS))
_EMPTY: Final = (Head(200, _HEADERS), _END)


# Envelopes --------------------------------------------------------------------------------------


def envelope(
    cursor: str,
    payloads: Sequence[bytes] = (),
    *,
    init: bool = False,
    should_reconnect: bool = False,
    groups_token: str | None = None,
    poll_delay: float = 0,
    error: str | None = None,
    disconnect: bool = False,
) -> bytes:
    """One object of server-to-client messages (spec: The envelope). Absent keys are left out, never null.

    `payloads` are JSON, ASCII only; `cursor` and `groups_token` need no escaping. `poll_delay` is in seconds (long
    polling only). `error` stops clients of 2.4, `disconnect` those of 1.x and 2.0; newer ones take no notice.

    >>> envelope("e-1", [b'"hi"', b"2"]), envelope("e-0", init=True)
    (b'{"C":"e-1","M":["hi",2]}', b'{"C":"e-0","S":1,"M":[]}')
    """
    if not (init or should_reconnect or groups_token is not None or poll_delay or error is not None or disconnect):
        return b"".join((b'{"C":"', cursor.encode("ascii"), b'","M":[', b",".join(payloads), b"]}"))
    parts = [b'{"C":"%b"' % cursor.encode("ascii")]
    if init:
        parts.append(b',"S":1')
    if should_reconnect:
        parts.append(b',"T":1')
    if groups_token is not None:
        parts.append(b',"G":"%b"' % groups_token.encode("ascii"))
    if poll_delay:
        parts.append(b',"L":%d' % round(poll_delay * 1000))
    if error is not None:
        parts.append(b',"E":%b' % _dump(error))
    if disconnect:
        parts.append(b',"D":1')
    parts += (b',"M":[', b",".join(payloads), b"]}")
    return b"".join(parts)


def plain_envelope(opening: bytes, position: int, payloads: Sequence[bytes]) -> bytes:
    """An envelope of messages alone; `opening` is all before the position.

    >>> plain_envelope(b'{"C":"e-', 1, [b'"hi"', b"2"])
    b'{"C":"e-1","M":["hi",2]}'
    """
    if len(payloads) == 1:
        return b'%b%d","M":[%b]}' % (opening, position, payloads[0])
    return b'%b%d","M":[%b]}' % (opening, position, b",".join(payloads))


# Bodies -----------------------------------------------------------------------------------------


def negotiate_answer(
    url: str,
    connection_id: str,
    token: str,
    version: ProtocolVersion,
    settings: Settings,
    *,
    error: str | None = None,
    redirect_url: str | None = None,
    access_token: str | None = None,
    try_websockets: bool = True,
) -> bytes:
    """The answer to negotiate (spec: Negotiate). An error or a redirect leaves everything else out.

    Only clients with `version.knows_redirects` look at those two: refuse the others with a status.
    """
    if error is not None:
        return _dump({"ProtocolVersion": str(version), "Error": error})
    if redirect_url is not None:
        redirect = {"ProtocolVersion": str(version), "RedirectUrl": redirect_url}
        if access_token is not None:
            redirect["AccessToken"] = access_token
        return _dump(redirect)
    keep_alive = settings.keep_alive_timeout
    return msgspec.json.encode(  # a sixth of what json.dumps costs; a Url is ASCII, as everything else here
        {
            "Url": url,
            "ConnectionToken": token,
            "ConnectionId": connection_id,
            "KeepAliveTimeout": None if keep_alive is None else float(keep_alive),
            "DisconnectTimeout": float(settings.disconnect_timeout),
            "ConnectionTimeout": float(settings.connection_timeout),
            "TryWebSockets": try_websockets,
            "ProtocolVersion": str(version),
            "TransportConnectTimeout": float(settings.transport_connect_timeout),
            "LongPollDelay": float(settings.long_poll_delay),
        }
    )


def pong() -> bytes:
    """The answer to ping."""
    return b'{ "Response": "pong" }'


def started() -> bytes:
    """The answer to start, once the application has heard of the connection."""
    return b'{ "Response": "started" }'


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii")


# Whole answers ----------------------------------------------------------------------------------


def json_answer(body: bytes, callback: str | None = None, extra_headers: RawHeaders = ()) -> tuple[Piece, ...]:
    """A JSON text as the answer, or a script that hands it to a JSONP callback that has been checked.

    >>> json_answer(b"{}", "cb")[1]
    Chunk(b'cb({});')
    """
    if not callback:
        if not extra_headers:
            return _JSON_HEAD, Chunk(body), _END
        return _answer(200, (_JSON, *_HEADERS, *extra_headers), body)
    return _answer(200, (_SCRIPT, *_HEADERS, *extra_headers), b"%b(%b);" % (callback.encode(), body))


def text_answer(status: int, text: str, extra_headers: RawHeaders = ()) -> tuple[Piece, ...]:
    """A status and one sentence that says why."""
    return _answer(status, (_TEXT, *_HEADERS, *extra_headers), text.encode("utf-8", "replace"))


def refusal(error: RemoteProtocolError, extra_headers: RawHeaders = ()) -> tuple[Piece, ...]:
    """The answer that a reader's exception asks for."""
    return text_answer(error.status, str(error), extra_headers)


def empty_answer(status: int = 200, extra_headers: RawHeaders = ()) -> tuple[Piece, ...]:
    """No body and no type: a `/send` without a reply."""
    if status == 200 and not extra_headers:
        return _EMPTY
    return Head(status, (*_HEADERS, *extra_headers)), _END


def aborted(extra_headers: RawHeaders = ()) -> tuple[Piece, ...]:
    """The answer to abort."""
    return Head(200, ((b"Content-Type", b"text/plain"), *_HEADERS, *extra_headers)), _END


def _answer(status: int, headers: RawHeaders, body: bytes) -> tuple[Piece, ...]:
    return Head(status, headers), Chunk(body), _END
