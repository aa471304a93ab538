"""Who is let in: asks the application's own code about each request, before the endpoint sees it."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from msgspec.structs import replace

from .callbacks import call
from .connection import Identity, PersistentConnection, Redirect, Refusal
from .errors import RemoteProtocolError
from .page import Page, page_for
from .protocol.admission import ADMITTED, Admission
from .protocol.reception import Route
from .tasks import ends_this_task
from .wire.http import Request

__all__ = ["Authenticate", "Gate", "Who"]

_logger = logging.getLogger("persistconn.app")

Who: TypeAlias = "Identity | str | None"
Authenticate: TypeAlias = Callable[[Request], "Awaitable[Who] | Who"]


class Gate:
    """What the application has to say about requests."""

    def __init__(
        self,
        connections: Mapping[str, PersistentConnection],
        pages: Mapping[str, Page],
        authenticate: Authenticate | None,
    ) -> None:
        self._connections = connections
        self._pages = pages
        self.authenticate = authenticate
        self.asks: set[str] = set()
        """Paths of routes that have code to be awaited before the endpoint sees a request."""
        self.subscribes: set[str] = set()
        """Paths of routes that choose topics for newcomers."""
        self.route_of: Callable[[Request], Route | None] = lambda request: None
        """Which route takes a request; the endpoint says so, once it is there."""

    def learn(self, path: str, connection: PersistentConnection) -> None:
        """See which hooks are overridden, by its class or on the instance."""
        hooks = {"authorize": self.asks, "on_negotiate": self.asks, "subscriptions": self.subscribes}
        for hook, paths in hooks.items():
            given: Any = getattr(connection, hook)
            if getattr(given, "__func__", None) is not getattr(PersistentConnection, hook):
                paths.add(path)
                if hook == "subscriptions" and inspect.iscoroutinefunction(given):
                    self.asks.add(path)

    @property
    def is_needed(self) -> bool:
        """There is something to be asked."""
        return bool(self.asks or self.subscribes) or self.authenticate is not None

    def admit_nowait(self, request: Request) -> Admission | None:
        """What the application thinks of a request; None: code of the user has to be awaited for that."""
        if page_for(request, self._pages) is not None:
            return ADMITTED
        if self.authenticate is not None:
            return None
        route = self.route_of(request)
        if route is None:
            return ADMITTED
        if route.path in self.asks:
            return None
        try:
            return self._admission(route, request)
        except Exception as error:
            return _failed(route, request, error)

    async def admit(self, request: Request) -> tuple[Request, Admission]:
        """Who makes a request, and what the application thinks of it."""
        route = self.route_of(request)
        if route is None:
            return request, ADMITTED
        owner = self._connections[route.path]
        expires_in: float | None = None
        try:
            if self.authenticate is not None:
                who: Who = await call(self.authenticate, request)
                if isinstance(who, Identity):
                    expires_in = None if who.expires_in == math.inf else who.expires_in
                    who = who.name
                request = request.with_user(who)
            if not await call(owner.authorize, request):
                return request, Admission(status=401 if request.user is None else 403)
            if request.path.rstrip("/").lower().endswith("/negotiate"):
                admission = _admission(await call(owner.on_negotiate, request))
                if admission is not ADMITTED:
                    return request, admission
            if inspect.iscoroutinefunction(owner.subscriptions):
                admission = Admission(topics=tuple(await owner.subscriptions(request)))
            else:
                admission = self._admission(route, request)
            if self.authenticate is not None:  # who has no more to say about that lifts what was said before
                admission = replace(admission, expires_in=None if expires_in is None else max(0.0, expires_in))
        except BaseException as error:
            if ends_this_task(error):
                raise
            return request, _failed(route, request, error)
        return request, admission

    def _admission(self, route: Route, request: Request) -> Admission:
        if route.path not in self.subscribes:
            return ADMITTED
        topics = self._connections[route.path].subscriptions(request)
        if inspect.isawaitable(topics):
            if inspect.iscoroutine(topics):
                topics.close()
            raise TypeError("subscriptions gave an awaitable: write it as `async def`, so that it is awaited")
        return Admission(topics=tuple(topics))


def _admission(answer: Redirect | Refusal | None) -> Admission:
    match answer:
        case Redirect():
            return Admission(redirect_url=answer.url, access_token=answer.access_token)
        case Refusal():
            return Admission(error=answer.message)
        case _:
            return ADMITTED


def _failed(route: Route, request: Request, error: BaseException) -> Admission:
    """What was asked about this request has failed: on purpose, or not."""
    if isinstance(error, RemoteProtocolError):
        return Admission(error.status, str(error))
    extra = {"route": route.path}
    _logger.error("authenticating or authorizing %r failed", request, exc_info=error, extra=extra)
    return Admission(status=500)
