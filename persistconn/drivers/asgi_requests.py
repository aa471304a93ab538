"""Reads a request from an ASGI scope, and its body from the messages behind it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final, TypeAlias
from urllib.parse import unquote_to_bytes

import anyio

from ..protocol.http1_policy import body_limit, too_large
from ..settings import Settings
from ..wire.http import Headers, Request

# fmt: off
__all__ = [
    "BodyTooSlow", "Message", "PeerGone", "Receive", "Scope", "Send", "read_body", "read_request", "said_goodbye",
    "user_of",
]
# fmt: on

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

_logger = logging.getLogger("persistconn.asgi")

_NO_CODE: Final = 1005
_CUT_SHORT: Final = frozenset({1006, 1012})
"""Close codes without a close frame of the client: the socket broke, or the server is going away."""
_SECURE: Final = frozenset({"https", "wss"})
_MOST_DIGITS: Final = 18
"""Of a length that is read as a number: Python refuses thousands."""


class PeerGone(Exception):
    """The client went before its request was complete."""


class BodyTooSlow(Exception):
    """The body was not complete within `body_timeout`."""


def read_request(scope: Scope, body: bytes = b"", *, user_matters: bool = True) -> Request:
    """The request of an `http` or `websocket` scope. That its user cannot be read is worth a warning if that matters.

    >>> scope = {"type": "http", "method": "GET", "path": "/rt/echo", "root_path": "/rt", "headers": [[b"Host", b"x"]]}
    >>> read_request(scope).path, read_request({**scope, "path": "/echo"}).path
    ('/rt/echo', '/rt/echo')
    """
    websocket = scope["type"] == "websocket"
    root, path = read_path(scope)
    client = scope.get("client")
    secure = scope.get("scheme") in _SECURE
    return Request(
        "GET" if websocket else scope["method"].upper(),
        path,
        (scope.get("query_string") or b"").decode("utf-8", "replace"),
        Headers(tuple([(bytes(name).lower(), bytes(value)) for name, value in scope.get("headers") or ()])),
        body,
        client=(str(client[0]), int(client[1] or 0)) if client else None,
        scheme="https" if secure else "http",
        root_path=root,
        upgrade=websocket,
        user=user_of(scope, matters=user_matters),
        scope=scope,
    )


def read_path(scope: Scope) -> tuple[str, str]:
    """The mount point and the whole path, which begins with it.

    In ASGI `path` holds `root_path`, and most servers and frameworks do so. Some take off what they have used
    (Starlette before 0.33, a proxy), some of them without a word, and add a slash (Litestar): `raw_path` tells.
    Django Channels' `URLRouter` leaves the path alone, and says in `path_remaining` what it has not used.
    """
    root: str = (scope.get("root_path") or "").rstrip("/")
    path: str = scope["path"]
    rest: str | None = scope.get("path_remaining")
    if rest is not None and path.endswith(f"/{rest.lstrip('/')}"):
        return path[: len(path) - len(rest.lstrip("/")) - 1], path
    raw: bytes | None = scope.get("raw_path")
    if raw is not None:
        whole = unquote_to_bytes(raw.partition(b"?")[0]).decode("utf-8", "replace")
        rest = path if whole.endswith("/") else path.rstrip("/")
        if whole != path and whole.endswith(rest) and rest[:1] in ("", "/"):
            return whole.removesuffix(rest), whole
    if root and not (path == root or path.startswith(root + "/")):
        return root, root + path
    return root, path


def user_of(scope: Mapping[str, Any], *, matters: bool = True) -> str | None:
    """The name of the user that stands in the scope: a text, or what Starlette and Django put there.

    >>> user_of({"user": "ann"}), user_of({})
    ('ann', None)
    """
    try:
        return _name_of(scope.get("user"))
    except Exception as error:  # one that is looked up when it is asked for, and cannot be here: Django's in a database
        level = logging.WARNING if matters else logging.DEBUG
        _logger.log(level, "scope['user'] cannot be read, so there is no user: %r", error)
        return None


def _name_of(user: Any) -> str | None:
    if user is None or isinstance(user, str):
        return user or None
    if not getattr(user, "is_authenticated", True):
        return None
    for attribute in ("username", "display_name"):
        name = getattr(user, attribute, None)
        if isinstance(name, str) and name:
            return name
    return str(user)


def said_goodbye(disconnect: Message) -> bool:
    """Whether this end of a WebSocket is the client's own, by a close frame; else it was cut, and may come back.

    For a cut, uvicorn with websockets-sansio or wsproto gives the code of a close frame without one, but no reason. So
    does granian for both, and hypercorn calls each end a cut: who is waited for in vain costs less than who is lost.

    >>> said_goodbye({"code": 1005, "reason": ""}), said_goodbye({"code": 1005}), said_goodbye({"code": 1006})
    (True, False, False)
    """
    code = disconnect.get("code", _NO_CODE)
    return code not in _CUT_SHORT and (code != _NO_CODE or "reason" in disconnect)


async def read_body(scope: Scope, receive: Receive, settings: Settings) -> bytes:
    """The whole body. Raises Refused when it is too large, BodyTooSlow, and PeerGone."""
    limit = body_limit(settings)
    headers = scope.get("headers") or ()
    if not isinstance(headers, (list, tuple)):  # ASGI allows what can be read but once
        scope["headers"] = headers = tuple(headers)
    length = next((value for name, value in headers if bytes(name).lower() == b"content-length"), b"")
    if limit is not None and length.isdigit() and (len(length) > _MOST_DIGITS or int(length) > limit):
        raise too_large(settings)
    if scope["method"] in ("GET", "HEAD"):
        return await _whole(receive, limit, settings)
    with anyio.move_on_after(settings.body_timeout):
        return await _whole(receive, limit, settings)
    raise BodyTooSlow


async def _whole(receive: Receive, limit: int | None, settings: Settings) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        try:
            message = await receive()
        except Exception as error:  # as with `send`: servers and middleware do not agree on how they say it
            raise PeerGone from error
        if message["type"] == "http.disconnect":
            raise PeerGone
        part = message.get("body") or b""
        size += len(part)
        if limit is not None and size > limit:
            raise too_large(settings)
        parts.append(part)
        if not message.get("more_body", False):
            return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)
