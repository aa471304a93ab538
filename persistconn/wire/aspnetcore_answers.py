"""What a server says to clients of ASP.NET Core SignalR beside the messages: negotiation, polls, sends, refusals.

Bodies are empty or JSON where something went well: signalrcore decodes each as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from .http import Chunk, End, Head, Piece, RawHeaders
from .transports.aspnetcore import POLL_HEADERS

__all__ = [
    "empty_poll",
    "first_poll",
    "negotiate_answer",
    "negotiated",
    "over",
    "polled",
    "refused",
    "sent",
    "stopped",
]

_JSON: Final = (b"Content-Type", b"application/json")
_TEXT: Final = (b"Content-Type", b"text/plain")
_BYTES: Final = (b"Content-Type", b"application/octet-stream")
_HEADERS: Final = POLL_HEADERS[:2]
_END: Final = End()
_OFFERS: Final = {
    "webSockets": {"transport": "WebSockets", "transferFormats": ["Text", "Binary"]},
    "serverSentEvents": {"transport": "ServerSentEvents", "transferFormats": ["Text"]},
    "longPolling": {"transport": "LongPolling", "transferFormats": ["Text", "Binary"]},
}


# Negotiation ------------------------------------------------------------------------------------


def negotiate_answer(
    connection_id: str = "",
    token: str = "",
    version: int = 0,
    transports: Iterable[str] = tuple(_OFFERS),
    *,
    stateful: bool = False,
    error: str | None = None,
    redirect_url: str | None = None,
    access_token: str | None = None,
    token_lifetime: int | None = None,
) -> bytes:
    """The answer to negotiate (spec: Negotiate, Response). An error or a redirect leaves everything else out.

    `transports` are in order of preference; those this dialect does not have are skipped, since signalrcore fails on
    a name it does not know. `stateful` may be True only for a client that asked: others refuse it. `token_lifetime`
    is in seconds.

    >>> negotiate_answer("id1", "t0ken", 1, ["longPolling"])[:72]
    b'{"negotiateVersion":1,"connectionId":"id1","connectionToken":"t0ken","av'
    """
    if error is not None:
        return _dump({"error": error})
    if redirect_url is not None:
        redirect = {"url": redirect_url}
        if access_token is not None:
            redirect["accessToken"] = access_token
        return _dump(redirect)
    answer: dict[str, object] = {"useStatefulReconnect": True} if stateful else {}
    answer["negotiateVersion"] = version
    answer["connectionId"] = connection_id
    if version > 0:
        answer["connectionToken"] = token
    answer["availableTransports"] = [_OFFERS[name] for name in transports if name in _OFFERS]
    if token_lifetime is not None:
        answer["tokenLifetimeSeconds"] = token_lifetime
    return _dump(answer)


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def negotiated(body: bytes, extra: RawHeaders = ()) -> tuple[Piece, ...]:
    """A `negotiate_answer`, whatever it says: status 200, and the one type that pysignalr takes."""
    return Head(200, (_JSON, *_HEADERS, *extra)), Chunk(body), _END


# Polls, sends, stops ----------------------------------------------------------------------------

_FIRST_POLL: Final = Head(200, (_BYTES, *POLL_HEADERS))
_EMPTY_POLL: Final = Head(200, (_TEXT, *POLL_HEADERS))
_OVER: Final = Head(204, (_TEXT, *POLL_HEADERS))
_SENT: Final = Head(200, (_TEXT, *_HEADERS))
_STOPPED: Final = Head(202, (_TEXT, *_HEADERS))


def first_poll(extra: RawHeaders = ()) -> tuple[Piece, ...]:
    """The transport works. Clients throw away the body of this one, so there is none."""
    return _bare(_FIRST_POLL, extra)


def polled(data: bytes, extra: RawHeaders = ()) -> tuple[Piece, ...]:
    """What there was for a client, as its poll's whole answer."""
    return _with(_FIRST_POLL, extra), Chunk(data), _END


def empty_poll(extra: RawHeaders = ()) -> tuple[Piece, ...]:
    """There was nothing for as long as a poll may take: ask again."""
    return _bare(_EMPTY_POLL, extra)


def over(extra: RawHeaders = ()) -> tuple[Piece, ...]:
    """The connection has ended, or a newer poll has taken over: this one need not be repeated."""
    return _bare(_OVER, extra)


def sent(extra: RawHeaders = ()) -> tuple[Piece, ...]:
    """The data of a POST has been taken."""
    return _bare(_SENT, extra)


def stopped(extra: RawHeaders = ()) -> tuple[Piece, ...]:
    """A DELETE has been heard; the connection ends in its own time."""
    return _bare(_STOPPED, extra)


def refused(status: int, text: str, extra: RawHeaders = (), *, poll: bool) -> tuple[Piece, ...]:
    """A status and why; no body for an empty text. `poll` when a poll is what is refused.

    >>> refused(404, "No Connection with that ID", poll=True)[1]
    Chunk(b'No Connection with that ID')
    """
    head = Head(status, (_TEXT, *(POLL_HEADERS if poll else _HEADERS), *extra))
    return (head, Chunk(text.encode("utf-8", "replace")), _END) if text else (head, _END)


def _bare(head: Head, extra: RawHeaders) -> tuple[Piece, ...]:
    return _with(head, extra), _END


def _with(head: Head, extra: RawHeaders) -> Head:
    return Head(head.status, (*head.headers, *extra)) if extra else head
