"""What a client of ASP.NET Core SignalR asks for: reads its requests.

The answers are in `aspnetcore_answers`. Spec: ASP.NET Core protocol, Negotiate, Transports.
"""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias

import msgspec

from ..errors import RemoteProtocolError
from ..settings import Settings
from .dialect import beneath
from .http import Request

__all__ = [
    "CANNOT_CHANGE_TRANSPORT",
    "MISSING_ID",
    "NOT_AN_INTEGER",
    "NO_DELETE",
    "NO_POST_ON_WEBSOCKETS",
    "UNKNOWN_ID",
    "USER_CHANGED",
    "Attach",
    "Intent",
    "Negotiate",
    "NegotiationError",
    "Refresh",
    "Send",
    "Stop",
    "Transport",
    "read_request",
    "transport_of",
    "unsupported",
]

# The genuine server's words: clients and their users know them.
MISSING_ID: Final = "Connection ID required"
"""Status 400."""
UNKNOWN_ID: Final = "No Connection with that ID"
"""Status 404: the token was never given out, or its connection is over."""
CANNOT_CHANGE_TRANSPORT: Final = "Cannot change transports mid-connection"
"""Status 400."""
NO_POST_ON_WEBSOCKETS: Final = "POST requests are not allowed for WebSocket connections."
"""Status 405."""
NO_DELETE: Final = "Cannot terminate this connection using the DELETE endpoint."
"""Status 400: only long polling ends like this."""
NOT_AN_INTEGER: Final = "The client requested a non-integer protocol version."
_VERSION_TOO_LOW: Final = "The client requested version '%d', but the server does not support this version."
USER_CHANGED: Final = "The user identity cannot change during a connection."
"""Status 403: the token was given to another user. These words are ours, the genuine server only logs it."""

Transport: TypeAlias = Literal["webSockets", "serverSentEvents", "longPolling"]


def unsupported(transport: str) -> str:
    """Why there is status 404 for a transport that an endpoint does not have.

    >>> unsupported("longPolling")
    'LongPolling transport not supported by this end point type'
    """
    return f"{transport[:1].upper()}{transport[1:]} transport not supported by this end point type"


class NegotiationError(RemoteProtocolError):
    """The client cannot have what it negotiates for. It is told so in an ordinary answer, under `error`."""

    def __init__(self, message: str) -> None:
        super().__init__(message, status=200)


# Intents ----------------------------------------------------------------------------------------


class Negotiate(msgspec.Struct, frozen=True, gc=False):
    """A newcomer wants an id and a token."""

    name: str
    """The segment behind the mount, in lower case; "" for the mount itself. All intents have one."""
    version: int
    """0 or 1; of version 0 the token is the id."""
    stateful: bool
    """It would like to resume where a WebSocket was cut, and the settings allow it."""


class Attach(msgspec.Struct, frozen=True, gc=False):
    """The exchange wants to carry what goes to the client."""

    name: str
    transport: Transport
    token: str | None
    """None for a WebSocket of a client that has not negotiated."""


class Send(msgspec.Struct, frozen=True, gc=False):
    """Data of a client whose transport goes one way only."""

    name: str
    token: str
    data: bytes


class Stop(msgspec.Struct, frozen=True, gc=False):
    """A client that polls leaves for good."""

    name: str
    token: str


class Refresh(msgspec.Struct, frozen=True, gc=False):
    """The client has new credentials (servers after .NET 10)."""

    name: str
    token: str


Intent: TypeAlias = Negotiate | Attach | Send | Stop | Refresh

_LONGEST_NAME: Final = 256
_LONGEST_TOKEN: Final = 64
"""Ours have 22 letters; one that is much longer need not be looked up."""


def read_request(request: Request, mount: str, settings: Settings) -> Intent:
    """What a request to the endpoint at `mount` asks for.

    Raises RemoteProtocolError with the answer to give, NegotiationError among them. It does not look up the token.

    >>> read_request(Request("POST", "/hubs/Chat", "id=t0ken", body=b"hi"), "/hubs", Settings())
    Send(name='chat', token='t0ken', data=b'hi')
    """
    name, verb = _place(request, mount)
    method = request.method
    if verb:
        if method != "POST":
            raise RemoteProtocolError("", status=405)
        return _negotiate(name, request, settings) if verb == "negotiate" else Refresh(name, _token(request))
    if method == "POST":
        return Send(name, _token(request), request.body)
    if method == "DELETE":
        return Stop(name, _token(request))
    if method != "GET":
        raise RemoteProtocolError("", status=405)
    transport = transport_of(request)
    if transport == "webSockets" and not request.query.find_in_any_case("id"):
        return Attach(name, transport, None)
    return Attach(name, transport, _token(request))


def transport_of(request: Request) -> Transport:
    """The transport that a GET to an endpoint asks for.

    >>> transport_of(Request("GET", "/chat", "id=t0ken"))
    'longPolling'
    """
    if _wants_events(request):
        return "serverSentEvents"
    return "webSockets" if request.upgrade else "longPolling"


def _place(request: Request, mount: str) -> tuple[str, str]:
    """The name behind the mount, and `negotiate` or `refresh` if that is the end of the path."""
    rest = beneath(mount, request)
    segments = [segment for segment in (rest or "").lower().split("/") if segment]
    verb = segments.pop() if segments and segments[-1] in ("negotiate", "refresh") else ""
    name = segments[0] if segments else ""
    if rest is None or len(segments) > 1 or len(name) > _LONGEST_NAME:
        raise RemoteProtocolError("", status=404)
    return name, verb


def _token(request: Request) -> str:
    token = request.query.find_in_any_case("id")
    if not token:
        raise RemoteProtocolError(MISSING_ID)
    if len(token) > _LONGEST_TOKEN:
        raise RemoteProtocolError(UNKNOWN_ID, status=404)
    return token


def _wants_events(request: Request) -> bool:
    """Whether `Accept` lists event streams; one that is malformed lists nothing."""
    accept = request.headers.find(b"accept")
    return accept is not None and any(
        kind.partition(";")[0].strip().lower() == "text/event-stream" for kind in accept.split(",")
    )


# Negotiation ------------------------------------------------------------------------------------

_INTEGER: Final = re.compile(r"\s*([+-]?[0-9]{1,10})\s*", re.ASCII)
_LARGEST: Final = 2**31 - 1  # what the genuine server reads is a System.Int32
_NEWEST: Final = 1


def _negotiate(name: str, request: Request, settings: Settings) -> Negotiate:
    query = request.query  # a stale `id` may be among it: Python clients negotiate again with the URL they had
    wish = query.find_in_any_case("useStatefulReconnect") or ""
    stateful = settings.allow_stateful_reconnect and wish.strip().lower() == "true"
    return Negotiate(name, _version(query.find_in_any_case("negotiateVersion")), stateful)


def _version(text: str | None) -> int:
    if text is None:
        return 0
    found = _INTEGER.fullmatch(text)
    number = int(found[1]) if found else None
    if number is None or not -_LARGEST - 1 <= number <= _LARGEST:
        raise NegotiationError(NOT_AN_INTEGER)
    if number < 0:
        raise NegotiationError(_VERSION_TOO_LOW % number)
    return min(number, _NEWEST)
