"""Which web pages may talk to us: the check of `Origin`, and the headers browsers ask for (Fetch §3.2)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address
from typing import Final

from ..errors import ConfigurationError
from .http import RawHeaders, Request

__all__ = ["OriginRule"]

_HOST: Final = r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)"
_ORIGIN: Final = re.compile(rf"([A-Za-z][A-Za-z0-9+.-]*)://{_HOST}(?::([0-9]{{1,5}}|\*))?")
_HOST_HEADER: Final = re.compile(rf"{_HOST}(?::([0-9]{{0,5}}))?")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_ANY: Final = -1

_MOST_REMEMBERED: Final = 256
_LONGEST_REMEMBERED: Final = 512

_PREFLIGHT: Final[RawHeaders] = (
    (b"Access-Control-Allow-Methods", b"GET, POST, DELETE, OPTIONS"),
    (b"Access-Control-Max-Age", b"7200"),
)
_USUAL_HEADERS: Final = "authorization, content-type, x-requested-with, x-signalr-user-agent"
_HEADERS: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z, \t]{1,1024}")


@dataclass(frozen=True, slots=True)
class _Origin:
    scheme: str
    host: str
    port: int | None
    """None where the scheme has no default; `_ANY` for `*` in a rule."""

    def matches(self, other: _Origin) -> bool:
        """Whether a page's origin is the one of this rule."""
        return (self.scheme, self.host) == (other.scheme, other.host) and self.port in (_ANY, other.port)


class OriginRule:
    """Pages from our own host may talk to us, and those of the origins in `allowed`; no other page may.

    An entry is `scheme://host`, `scheme://host:port` or `scheme://host:*`. Raises ConfigurationError for others.

    >>> from persistconn.wire.http import Headers
    >>> rule = OriginRule(["https://app.example.org"])
    >>> def page(origin):
    ...     return Request("GET", "/echo", headers=Headers(((b"Host", b"api.example.org"), (b"Origin", origin))))
    >>> rule.permits(page(b"https://app.example.org")), rule.permits(page(b"https://evil.example"))
    (True, False)
    """

    __slots__ = ("_allowed", "_judged")

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        if isinstance(allowed, str):
            raise ConfigurationError(f"allowed_origins is {allowed!r}: it must be a list of origins")
        self._allowed = tuple(_read_entry(entry) for entry in allowed)
        self._judged: dict[tuple[str, str], RawHeaders] = {}
        """What was granted to pages of which origin on which host: there are few, and each asks often."""

    def judge(self, request: Request) -> RawHeaders | None:
        """The headers that let the page that made this request read the answer, none for a page of our own; None if
        it may not talk to us at all. What sends no `Origin` is no foreign page."""
        text = request.headers.find(b"origin")
        if text is None:
            return ()
        host = request.headers.find(b"host") or ""
        asked = (text, host)
        found = self._judged.get(asked)
        if found is not None:
            return found
        origin = _read_origin(text)
        if origin is None:  # among them "null": a sandboxed frame, a file; anybody can make one
            return None
        if any(entry.matches(origin) for entry in self._allowed):
            granted: RawHeaders = (
                (b"Access-Control-Allow-Origin", text.encode("ascii")),
                (b"Access-Control-Allow-Credentials", b"true"),
                (b"Vary", b"Origin"),
            )
        elif _is_own(origin, host):
            granted = ()
        else:
            return None
        if len(text) + len(host) <= _LONGEST_REMEMBERED:
            if len(self._judged) >= _MOST_REMEMBERED:
                self._judged.clear()
            self._judged[asked] = granted
        return granted

    def permits(self, request: Request) -> bool:
        """Whether the page that made this request may talk to us."""
        return self.judge(request) is not None

    def headers(self, request: Request) -> RawHeaders:
        """The headers that let a page of an allowed origin read the answer; none for all others."""
        return self.judge(request) or ()

    def preflight(self, request: Request) -> RawHeaders | None:
        """The headers for a browser that asks before it asks, empty if its page may not; None if it is no preflight."""
        if request.method != "OPTIONS":
            return None
        asks = request.headers
        if "origin" not in asks or "access-control-request-method" not in asks:
            return None
        granted = self.headers(request)
        if not granted:
            return ()
        wanted = asks.find(b"access-control-request-headers") or ""  # a client may add some of its own
        allowed = wanted if _HEADERS.fullmatch(wanted) else _USUAL_HEADERS
        return (*granted, (b"Access-Control-Allow-Headers", allowed.encode("ascii")), *_PREFLIGHT)


def _read_entry(entry: str) -> _Origin:
    if entry == "*":
        raise ConfigurationError(
            "allowed_origins has '*': answers may carry cookies, so each origin must be named; "
            "use scheme://host, scheme://host:port or scheme://host:*"
        )
    origin = _read(entry)
    if origin is None:
        raise ConfigurationError(
            f"allowed_origins has {entry!r}: use scheme://host, scheme://host:port or scheme://host:*, "
            "without a path, the host in ASCII"
        )
    return origin


def _read_origin(text: str) -> _Origin | None:
    """An `Origin` header; None for anything that names no origin."""
    origin = _read(text)
    return None if origin is None or origin.port == _ANY else origin


def _read(text: str) -> _Origin | None:
    found = _ORIGIN.fullmatch(text)
    if found is None:
        return None
    scheme = found[1].lower()
    host = _canonical(found[2])
    if host is None:
        return None
    if found[3] is None:
        return _Origin(scheme, host, _DEFAULT_PORTS.get(scheme))
    return _Origin(scheme, host, _ANY if found[3] == "*" else int(found[3]))


def _canonical(host: str) -> str | None:
    if not host.startswith("["):
        return host.lower()
    try:
        return f"[{IPv6Address(host[1:-1]).compressed}]"
    except AddressValueError:
        return None


def _is_own(origin: _Origin, host: str) -> bool:
    """Same host name as `Host`; ports count only if it has one, and schemes not at all: TLS may end before us."""
    found = _HOST_HEADER.fullmatch(host)
    if found is None or _canonical(found[1]) != origin.host:
        return False
    return not found[2] or int(found[2]) == origin.port
