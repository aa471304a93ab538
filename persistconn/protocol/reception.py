"""Takes requests in: finds their route and dialect, checks their origin, and hands them to who knows the dialect."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from ..bus.topics import Topics
from ..errors import ConfigurationError, RemoteProtocolError
from ..settings import Settings
from ..wire.classic_answers import refusal, text_answer
from ..wire.dialect import USUAL_IN_CLASSIC, beneath, classify
from ..wire.http import End, Head, Request
from ..wire.origin import OriginRule
from ..wire.tokens import Tokens
from .admission import Admission, Newcomers
from .aspnetcore_requests import AspNetCoreRequests
from .classic_requests import ClassicRequests
from .delivery import Delivery
from .exchange import Exchange
from .lifecycle import Lifecycle

__all__ = ["DIALECTS", "TRANSPORTS", "Reception", "Route"]

_NOTHING: Final = "There is nothing at this path."
TRANSPORTS: Final = ("webSockets", "serverSentEvents", "longPolling", "foreverFrame")
DIALECTS: Final = frozenset({"classic", "aspnetcore"})


@dataclass(frozen=True, slots=True)
class Route:
    """Where connections of one kind are mounted, which dialects are spoken there, and how.

    `transports` are those that clients may use, the best first; they are told of no other.
    `names` are for ASP.NET Core: what may stand behind the path, in lower case; the empty one is the path itself.
    There `takes_parts` gives the application what a client sends as it comes, and `resumable` lets clients negotiate
    stateful reconnect.

    >>> Route("/echo").path
    '/echo'
    """

    path: str
    dialects: frozenset[str] = DIALECTS
    names: frozenset[str] = frozenset({""})
    takes_parts: bool = False
    resumable: bool = False
    transports: tuple[str, ...] = TRANSPORTS

    def __post_init__(self) -> None:
        if self.path and (not self.path.startswith("/") or self.path.endswith("/") or "\n" in self.path):
            raise ConfigurationError(f"path is {self.path!r}: it must be empty, or begin with / and not end with one")
        if self.dialects - DIALECTS or not self.dialects:
            raise ConfigurationError(f"dialects is {sorted(self.dialects)}: there are 'classic' and 'aspnetcore'")
        if set(self.transports) - set(TRANSPORTS) or not self.transports:
            raise ConfigurationError(f"transports is {list(self.transports)}: there are {', '.join(TRANSPORTS)}")


class Reception:
    """Everything between a request and a session."""

    def __init__(
        self,
        routes: Iterable[Route],
        settings: Settings,
        origins: OriginRule,
        tokens: Tokens,
        epoch: str,
        wall: float,
        entropy: Callable[[int], bytes],
        topics: Topics,
        delivery: Delivery,
        lifecycle: Lifecycle,
    ) -> None:
        self._routes = sorted(routes, key=lambda route: -len(route.path))
        self._by_path = {route.path.lower(): route for route in self._routes}
        self._origins = origins
        self._delivery = delivery
        self._lifecycle = lifecycle
        self.newcomers = Newcomers(settings, topics, delivery, lifecycle, entropy)
        self.classic = ClassicRequests(settings, tokens, epoch, wall, self.newcomers)
        self._aspnetcore = AspNetCoreRequests(settings, self.newcomers)

    def route_of(self, request: Request) -> Route | None:
        """The route a request goes to: of nested mounts the innermost. From now on the request knows its dialect."""
        path = request.path.lower()
        found: Route | None = None
        if not request.root_path and path.isascii():  # nearly always it is what stands before the last slash
            found = self._by_path.get(path) or self._by_path.get(path[: path.rfind("/")])
        if found is None:
            found = next((route for route in self._routes if beneath(route.path, request) is not None), None)
        if found is not None and not (
            request.query_string.startswith(USUAL_IN_CLASSIC) and "classic" in found.dialects
        ):
            request.dialect = classify(found.path, request, found.dialects) or ""
        return found

    def open(self, exchange: Exchange, admission: Admission) -> None:
        """Answer a request, or let its exchange carry a session."""
        request = exchange.request
        route = self.route_of(request)
        if route is None:
            self._delivery.answer(exchange, text_answer(404, _NOTHING))
            return
        preflight = self._origins.preflight(request) if request.method == "OPTIONS" else None
        if preflight is not None:
            exchange.foreign = not preflight
            self._delivery.answer(exchange, (Head(204 if preflight else 403, preflight), End()))
            return
        extra = self._origins.judge(request)
        if extra is None:
            exchange.foreign = True
            self._lifecycle.reactions["allowed_origins"] += 1
            text = "Pages of this origin may not talk to this server (allowed_origins)."
            self._delivery.answer(exchange, text_answer(403, text))
            return
        exchange.extra = extra
        try:
            if request.dialect == "classic":
                self.classic.take(exchange, route, admission)
            elif request.dialect:
                self._aspnetcore.take(exchange, route, admission)
            else:
                self._delivery.answer(exchange, text_answer(404, _NOTHING, extra))
        except RemoteProtocolError as error:
            self._delivery.answer(exchange, refusal(error, extra))
