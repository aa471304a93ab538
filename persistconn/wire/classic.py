"""What a classic client (ASP.NET SignalR 1.x and 2.x) asks for: reads its requests and its data.

The answers are in `classic_answers`. Spec: classic protocol, Versions, Endpoints, Tokens, Transports.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, TypeAlias
from urllib.parse import quote

import msgspec

from ..errors import RemoteProtocolError
from ..settings import Settings
from .dialect import CLASSIC, CLASSIC_WITHOUT_START, Traits, beneath
from .form import read_form
from .http import Request, read_query
from .transports import EVENT_STREAM, LONG_POLLING, WEBSOCKETS, Framing, forever_frame, jsonp_polling

__all__ = [
    "INCORRECT_ID",
    "JSONP_DISABLED",
    "KEEP_ALIVE",
    "MISSING_TOKEN",
    "NOT_A_WEBSOCKET",
    "UNKNOWN_TRANSPORT",
    "USER_CHANGED",
    "Abort",
    "Attach",
    "Intent",
    "Negotiate",
    "Ping",
    "ProtocolVersion",
    "Send",
    "Start",
    "format_cursor",
    "parse_cursor",
    "read_data",
    "read_request",
    "same_user",
]

KEEP_ALIVE: Final = "{}"
"""A WebSocket text that is a client's sign of life and no message (signalr-async sends them)."""

# The genuine server's words: clients and their users know them.
UNKNOWN_TRANSPORT: Final = "Protocol error: Unknown transport."
MISSING_TOKEN: Final = "Protocol error: Missing connection token."
INCORRECT_ID: Final = "The ConnectionId is in the incorrect format."
"""Status 400: the connection token is not ours."""
USER_CHANGED: Final = (
    "Unrecognized user identity.  The user identity cannot change during an active SignalR connection."
)
"""Status 403: the token was given to another user. (Two spaces, as the genuine server has it.)"""
NOT_A_WEBSOCKET: Final = "Not a valid web socket request."
JSONP_DISABLED: Final = "Forbidden: JSONP is disabled."


# Versions ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ProtocolVersion:
    """The version that a client and we agreed on: its own, held between 1.2 and 2.0.

    >>> [str(ProtocolVersion.parse(text)) for text in ("1.5", "2.1", "0.9", "abc", None)]
    ['1.5', '2.0', '1.2', '1.2', '1.2']
    """

    number: tuple[int, ...]

    @classmethod
    def parse(cls, text: str | None) -> ProtocolVersion:
        """Read `clientProtocol`: two to four decimal numbers; anything else counts as absent, which means 1.2."""
        found = _VERSION.fullmatch(text or "")
        if found is None:
            return _LOWEST
        number = tuple(int(part) for part in found[0].split("."))
        if max(number) > _LARGEST_PART:
            return _LOWEST
        return min(max(_LOWEST, cls(number), key=_by_number), _HIGHEST, key=_by_number)

    def __str__(self) -> str:
        return ".".join(map(str, self.number))

    @property
    def needs_start(self) -> bool:
        """`/start` tells the application of the connection ("delayed start"); else connecting does."""
        return self.number >= (1, 4)

    @property
    def knows_redirects(self) -> bool:
        """The client looks for `Error` and `RedirectUrl` in the answer to negotiate."""
        return self.number >= (2, 0)

    @property
    def traits(self) -> Traits:
        """What the core must know of it."""
        return CLASSIC if self.needs_start else CLASSIC_WITHOUT_START


def _by_number(version: ProtocolVersion) -> tuple[int, ...]:
    return version.number


_VERSION: Final = re.compile(r"[0-9]{1,10}(?:\.[0-9]{1,10}){1,3}")
_LARGEST_PART: Final = 2**31 - 1  # of System.Version, by which the genuine server reads it
_LOWEST: Final = ProtocolVersion((1, 2))
_HIGHEST: Final = ProtocolVersion((2, 0))
_USUAL: Final = {text: ProtocolVersion.parse(text) for text in ("1.2", "1.3", "1.4", "1.5", "2.0", "2.1")}


# Intents ----------------------------------------------------------------------------------------


Kind: TypeAlias = Literal["connect", "reconnect", "poll"]


class Negotiate(msgspec.Struct, frozen=True, gc=False):
    """A newcomer wants an id, a token and our time-outs."""

    url: str
    """The path of this endpoint as seen from outside, percent-encoded: `Url` in the answer."""
    version: ProtocolVersion
    callback: str | None


class Ping(msgspec.Struct, frozen=True, gc=False):
    """Are you there? Keeps cookies alive."""

    callback: str | None


class Start(msgspec.Struct, frozen=True, gc=False):
    """The client has seen `S` and wants to be announced to the application."""

    transport: str
    token: str
    version: ProtocolVersion
    callback: str | None


class Send(msgspec.Struct, frozen=True, gc=False):
    """A message of a client whose transport goes one way only."""

    transport: str
    token: str
    data: str | None
    """None when the request has no `data` at all."""
    version: ProtocolVersion
    callback: str | None


class Abort(msgspec.Struct, frozen=True, gc=False):
    """The client leaves for good."""

    transport: str
    token: str
    version: ProtocolVersion


class Attach(msgspec.Struct, frozen=True, gc=False):
    """The exchange wants to carry what goes to the client.

    `kind` is "poll" for long polling below any path but `/connect` and `/reconnect`; streams are "reconnect" there.
    """

    kind: Kind
    framing: Framing
    token: str
    cursor: str | None
    groups_token: str | None
    version: ProtocolVersion


Intent: TypeAlias = Negotiate | Ping | Start | Send | Abort | Attach

_NAMES: Final = ("webSockets", "serverSentEvents", "foreverFrame", "longPolling")
_TRANSPORTS: Final = {name: name for name in _NAMES} | {name.lower(): name for name in _NAMES}


class _Asked(msgspec.Struct, frozen=True, gc=False):
    """What a query alone says."""

    callback: str | None
    version: ProtocolVersion
    transport: str | None
    token: str | None
    cursor: str | None
    groups_token: str | None


_LONGEST_REMEMBERED: Final = 1_024


@lru_cache(maxsize=512)
def _read_query(text: str) -> _Asked:
    """A client says the same with each of its messages; what is remembered is bounded in number and in size."""
    get = read_query(text).find
    version = get("clientProtocol")
    name = get("transport") or ""
    return _Asked(
        get("callback") or None,
        _USUAL.get(version or "") or ProtocolVersion.parse(version),
        _TRANSPORTS.get(name) or _TRANSPORTS.get(name.lower()),
        get("connectionToken"),
        get("messageId"),
        get("groupsToken"),
    )


def _asked(text: str) -> tuple[_Asked, str | None]:
    """What a query says, and the position it quotes: that is new each time, and all else the same."""
    others, found, rest = text.partition("&messageId=")
    cursor, _, rest = rest.partition("&")
    if rest:
        others = f"{others}&{rest}"
    asked = _read_query(others) if len(others) <= _LONGEST_REMEMBERED else _read_query.__wrapped__(others)
    if found and asked.cursor is None and "%" not in cursor and "+" not in cursor:
        return asked, cursor
    if found:
        asked = _read_query.__wrapped__(text)  # there is another one, perhaps before it, or it has to be decoded
    return asked, asked.cursor


def read_request(request: Request, mount: str, settings: Settings) -> Intent:
    """What a request to the endpoint at `mount` asks for. Any method will do; the end of the path says it all.

    Raises RemoteProtocolError with the answer to give. It does not look into the token.
    """
    asked, cursor = _asked(request.query_string)
    callback = asked.callback
    if callback is not None:
        _check_callback(callback, settings)
    path = request.path
    if not request.root_path and path.startswith(mount) and path[len(mount) : len(mount) + 1] == "/":
        rest = path[len(mount) :]  # what nearly all are
    else:
        rest = beneath(mount, request) or ""
    verb = rest[rest.rfind("/") + 1 :].lower()
    if verb == "negotiate":
        return Negotiate(_url(request.path[: -len("/negotiate")]), asked.version, callback)
    if verb == "ping":
        return Ping(callback)
    transport = asked.transport
    if transport is None:
        raise RemoteProtocolError(UNKNOWN_TRANSPORT)
    token = asked.token
    if not token:
        raise RemoteProtocolError(MISSING_TOKEN)
    if verb == "send":
        return Send(transport, token, _sent_data(request, transport, settings), asked.version, callback)
    if verb == "start":
        return Start(transport, token, asked.version, callback)
    if verb == "abort":
        return Abort(transport, token, asked.version)
    kind: Kind = "connect" if verb == "connect" else "reconnect" if verb == "reconnect" else "poll"
    return _attach(request, kind, transport, token, cursor, asked)


def _attach(request: Request, kind: Kind, transport: str, token: str, cursor: str | None, asked: _Asked) -> Attach:
    callback = asked.callback
    form: dict[str, str] = {}
    if transport == "longPolling":
        framing = jsonp_polling(callback) if callback else LONG_POLLING
        if request.body:
            form = read_form(request.body)
    elif transport == "serverSentEvents":
        framing = EVENT_STREAM
    elif transport == "foreverFrame":
        framing = forever_frame(request.query.find("frameId") or "")
    else:
        if not request.upgrade:
            raise RemoteProtocolError(NOT_A_WEBSOCKET)
        framing = WEBSOCKETS
    if kind == "poll" and framing.streaming:
        kind = "reconnect"
    cursor = cursor or form.get("messageId") or None
    groups_token = asked.groups_token or form.get("groupsToken") or None
    return Attach(kind, framing, token, cursor, groups_token, asked.version)


_NOTHING_TO_QUOTE: Final = re.compile(r"[A-Za-z0-9_.\-/]*")


def _url(path: str) -> str:
    """The path for `Url`: the client puts scheme and host before it."""
    path = "/" + path.lstrip("/") if path else ""  # "//host" would be another server's address to a browser
    if _NOTHING_TO_QUOTE.fullmatch(path):
        return path
    return quote(path, safe="/:@!$&'()*+,;=~", errors="replace")


def _sent_data(request: Request, transport: str, settings: Settings) -> str | None:
    data = read_form(request.body).get("data") if request.body else None
    if data is None and transport == "longPolling":
        data = request.query.find("data")  # JSONP has no body
    limit = settings.max_message_size
    if data is not None and limit is not None and len(data) > limit // 4 and len(data.encode()) > limit:
        problem = f"The message is larger than {limit} bytes (max_message_size)."
        raise RemoteProtocolError(problem, status=413, close_code=1009)
    return data


# JSONP ------------------------------------------------------------------------------------------

_LONGEST_CALLBACK: Final = 256
_STARTS: Final = frozenset({"Lu", "Ll", "Lt", "Lm", "Lo", "Nl"})
_CONTINUES: Final = _STARTS | {"Mn", "Mc", "Nd", "Pc"}
_RESERVED: Final = re.compile(
    "break|case|catch|class|const|continue|debugger|default|delete|do|else|enum|export|extends|false|finally|for|"
    "function|if|implements|import|in|instanceof|interface|let|new|null|package|private|protected|public|return|"
    "static|super|switch|this|throw|true|try|typeof|var|void|while|with|yield"
)


def _check_callback(callback: str, settings: Settings) -> None:
    """Let only a dotted list of identifiers pass (ECMA-262 §12.7): it becomes code in the page that asks."""
    if not settings.jsonp:
        raise RemoteProtocolError(JSONP_DISABLED, status=403)
    if len(callback) > _LONGEST_CALLBACK or not all(map(_is_identifier, callback.split("."))):
        raise RemoteProtocolError("The callback is not a dotted list of JavaScript identifiers.")


def _is_identifier(word: str) -> bool:
    if not word or _RESERVED.fullmatch(word):
        return False
    first, rest = word[0], word[1:]
    return (first in "$_" or unicodedata.category(first) in _STARTS) and all(
        letter in "$\u200c\u200d" or unicodedata.category(letter) in _CONTINUES for letter in rest
    )


# Cursors, users, data ---------------------------------------------------------------------------

_CURSOR: Final = re.compile(r"([a-z0-9_]{1,16})-(0|[1-9][0-9]{0,17})")


def format_cursor(epoch: str, position: int) -> str:
    """The `C` of an envelope: the client quotes it when it comes back.

    >>> format_cursor("k3j2x9ab", 41), parse_cursor("k3j2x9ab-41")
    ('k3j2x9ab-41', ('k3j2x9ab', 41))
    """
    return f"{epoch}-{position}"


def parse_cursor(text: str | None) -> tuple[str, int] | None:
    """Epoch and position of a cursor in our form, whoever's epoch it is; None for anything else. Never raises."""
    found = _CURSOR.fullmatch(text) if text else None
    return (found[1], int(found[2])) if found else None


def same_user(told: str, user: str | None) -> bool:
    """Whether a token's user (`""`: anonymous) is the one who asks; upper and lower case are the same."""
    return told == (user or "") or told.casefold() == (user or "").casefold()


_DEEPEST: Final = 100
_BEGINS_JSON: Final = frozenset('{["-0123456789tfn \t\n\r')
_decode: Final = msgspec.json.Decoder().decode


def read_data(text: str) -> object:
    """The value when the whole text is JSON, else the text itself. Never raises.

    JSON nested deeper than 100 stays text, so that nobody who walks the value runs out of stack.

    >>> read_data('{"x": [1, 2]}'), read_data("hello"), read_data("42")
    ({'x': [1, 2]}, 'hello', 42)
    """
    if text[:1] not in _BEGINS_JSON:  # most plain text ends here, at a tenth of what a failing decoder costs
        return text
    try:
        value: object = _decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return text
    if len(text) > 2 * _DEEPEST and text.count("[") + text.count("{") > _DEEPEST and _is_deep(value):
        return text
    return value


def _is_deep(value: object) -> bool:
    level = [value]
    for _ in range(_DEEPEST):
        below: list[object] = []
        for item in level:
            if isinstance(item, dict):
                below += item.values()
            elif isinstance(item, list):
                below += item
        level = below
    return any(isinstance(item, (dict, list)) for item in level)
