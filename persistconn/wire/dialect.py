"""Which dialect a request speaks, and what differs between dialects, as data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from .http import Request

__all__ = ["ASPNETCORE", "CLASSIC", "CLASSIC_WITHOUT_START", "USUAL_IN_CLASSIC", "Traits", "beneath", "classify"]

_CLASSIC_PARAMETERS: Final = ("clientProtocol", "connectionToken", "transport")
USUAL_IN_CLASSIC: Final = tuple([f"{name}=" for name in _CLASSIC_PARAMETERS])
"""Nearly all queries of classic clients begin with one of these."""
_CLASSIC_VERBS: Final = frozenset({"ping", "connect", "start", "reconnect", "poll", "send", "abort"})


@dataclass(frozen=True, slots=True)
class Traits:
    """What the core must know of a dialect."""

    dialect: str
    needs_start: bool
    """The application hears of a connection at `/start`; else when its first transport comes."""
    remembers_negotiation: bool
    """Negotiating makes a session; else a token is enough, also one this process never gave out."""
    position_on_wire: bool
    """Each envelope tells a position and the client quotes it when it comes back."""
    pings: bool
    """WebSocket pings may be sent."""
    sign_of_life: str | None = None
    """A WebSocket text that says only that the client is there."""


CLASSIC: Final = Traits(
    dialect="classic",
    needs_start=True,
    remembers_negotiation=False,
    position_on_wire=True,
    pings=True,
    sign_of_life="{}",  # signalr-async sends them
)
"""Client protocol 1.4 and later."""
CLASSIC_WITHOUT_START: Final = replace(CLASSIC, needs_start=False)
"""Client protocol below 1.4."""
ASPNETCORE: Final = Traits(
    dialect="aspnetcore",
    needs_start=False,
    remembers_negotiation=True,
    position_on_wire=False,
    pings=False,  # signalrcore takes their payload for a message, and never answers; hubs have their own
)
"""ASP.NET Core SignalR, negotiate versions 0 and 1."""


def beneath(mount: str, request: Request) -> str | None:
    """The rest of the path below a mount, by whole segments and in any case; None if it is elsewhere.

    >>> beneath("/echo", Request("GET", "/Echo/connect")), beneath("/echo", Request("GET", "/echo2/connect"))
    ('/connect', None)
    """
    path = request.path
    if request.root_path:
        path = path.removeprefix(request.root_path)
    mount = mount.rstrip("/")
    if path.startswith(mount):
        rest = path[len(mount) :]
        return rest if not rest or rest.startswith("/") else None
    rest = path[len(mount) :]
    if path[: len(mount)].lower() != mount.lower() or (rest and not rest.startswith("/")):
        return None
    return rest


def classify(mount: str, request: Request, allowed: frozenset[str]) -> str | None:
    """The dialect of a request to this mount, one of those it allows; None if it has no place there.

    Where only one is allowed it is that one: it knows how to refuse what is not its own.

    >>> both = frozenset({"classic", "aspnetcore"})
    >>> classify("/hub", Request("GET", "/hub/negotiate", "clientProtocol=2.1"), both)
    'classic'
    >>> classify("/hub", Request("POST", "/hub/negotiate", "negotiateVersion=1"), both)
    'aspnetcore'
    """
    rest = beneath(mount, request)
    if rest is None:
        return None
    if len(allowed) == 1:
        return next(iter(allowed))
    found = _speaks(rest, request)
    return found if found in allowed else None


def _speaks(rest: str, request: Request) -> str | None:
    if any(name in request.query for name in _CLASSIC_PARAMETERS):
        return "classic"
    segments = [segment for segment in rest.lower().split("/") if segment]
    last = segments[-1] if segments else ""
    if last == "negotiate":
        return "aspnetcore" if request.method == "POST" else "classic"
    if last == "refresh" and request.method == "POST":
        return "aspnetcore"
    if last in _CLASSIC_VERBS:
        return "classic"
    return "aspnetcore" if len(segments) <= 1 else None
