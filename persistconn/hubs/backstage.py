"""What serving a call takes on any wire: an instance of the hub, rules, limits, filters, threads for plain methods."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

from msgspec import Raw

from persistconn import ConfigurationError, Connection, Request, Settings

from .authorization import RolesOf, Rule, granted
from .described import DescribedHub, DescribedMethod, HubTable
from .filters import Filter, HubCall, through
from .hub import Hub, HubError
from .members import Member
from .opened import Opened, call_anywhere
from .progress import Progress
from .scene import CallScene, HubStage

__all__ = ["Backstage", "Factory", "NotAuthorized", "shown"]

_logger = logging.getLogger("persistconn.hubs")

Factory: TypeAlias = Callable[..., Hub[Any]]


class NotAuthorized(Exception):
    """A rule of the hub or the method says no."""


class Backstage:
    """The hubs of one mount, and how to let them work."""

    def __init__(
        self,
        table: HubTable,
        settings: Settings,
        clock: Callable[[], float],
        *,
        factory: Factory | None = None,
        filters: Iterable[Filter] = (),
        roles: RolesOf | None = None,
    ) -> None:
        self.table = table
        self.settings = settings
        self.clock = clock
        self.stages: Mapping[DescribedHub, HubStage] = {}
        """How to reach the clients of each hub."""
        self._make = _maker(factory)
        if factory is None:
            for hub in table.hubs.values():
                hub.construct_by_class()
        self._filters = tuple(filters)
        for one in self._filters:
            if inspect.isfunction(one) and not inspect.iscoroutinefunction(one):
                raise ConfigurationError(f"the filter {one.__qualname__} is a plain function: write it as async def")
        self._roles = granted if roles is None else roles
        self.is_plain = factory is None and not self._filters and not _limits(settings)
        """Nothing stands between a caller and a method but what the method itself asks for."""

    async def allows(self, rules: Iterable[Rule], request: Request) -> bool:
        """Whoever makes this request meets all of these."""
        for rule in rules:
            if not await rule.allows(request, self._roles):
                return False
        return True

    async def authorize(self, hub: DescribedHub, method: DescribedMethod, request: Request) -> None:
        """Raises NotAuthorized."""
        if (hub.calls_rules or method.rules) and not await self.allows([*hub.calls_rules, *method.rules], request):
            raise NotAuthorized(f"Caller is not authorized to invoke the {method.name} method on {hub.name}.")

    def check(self, arguments: Sequence[Raw], connection: Connection, member: Member) -> None:
        """The limits of a call. Raises HubError, so that the caller can read why."""
        settings = self.settings
        limit, most = "", ""
        if settings.max_call_rate and not member.has_allowance(settings.max_call_rate, self.clock()):
            limit, most = "max_call_rate", f"{settings.max_call_rate:g} calls a second"
        elif len(arguments) > settings.max_call_arguments:
            limit, most = "max_call_arguments", f"{settings.max_call_arguments} arguments"
        elif settings.max_argument_size is not None:
            if any(len(bytes(one)) > settings.max_argument_size for one in arguments):
                limit, most = "max_argument_size", f"{settings.max_argument_size} bytes in one argument"
        if limit:
            connection.count_reaction(limit)
            raise HubError(f"More than {most} ({limit}).")

    async def run(
        self,
        hub: DescribedHub,
        method: DescribedMethod,
        arguments: list[Any],
        scene: CallScene,
        report: Callable[[Any], Any],
    ) -> Any:
        """What the method returns: a stream if it gives one. `report` is told of its progress."""
        needs = hub.needs
        instance = hub.hub.__new__(hub.hub) if needs else self._make(hub.hub)
        instance._scene = scene
        if method.is_direct and not self._filters and not needs:
            return await method.function(instance, *arguments)
        progress = Progress[Any](report)
        try:
            named = {method.signature.progress: progress} if method.signature.progress else {}
            run = partial(call_anywhere, method.function, instance)
            if needs or method.signature.needs:
                given = self._stream_given if method.is_stream else self._call_given
                run = partial(call_anywhere, given, hub, method, instance)
            return await through(self._filters, HubCall(instance, method.name, arguments, scene.context), run, named)
        finally:
            progress._finish()

    async def _call_given(
        self, hub: DescribedHub, method: DescribedMethod, instance: Hub[Any], *arguments: Any, **named: Any
    ) -> Any:
        """Inside the filters: a call that they refuse opens nothing, and they learn of what fails in closing."""
        async with Opened(instance._staged(), self.settings.drain_timeout) as opened:
            return await _begin(hub, method, instance, opened, arguments, named)

    async def _stream_given(
        self, hub: DescribedHub, method: DescribedMethod, instance: Hub[Any], *arguments: Any, **named: Any
    ) -> AsyncIterator[Any]:
        """The same for a method that gives a stream: all is open while somebody reads it."""
        async with Opened(instance._staged(), self.settings.drain_timeout) as opened:
            items = aiter(await _begin(hub, method, instance, opened, arguments, named))
            try:
                async for item in items:
                    yield item
            finally:
                close = getattr(items, "aclose", None)
                if close is not None:
                    await close()

    async def tell(self, hub: DescribedHub, scene: CallScene, moment: str, *args: Any) -> Any:
        """Tell a hub of a moment in the life of a connection, if it wants to hear of it."""
        if moment not in hub.overrides:
            return None
        if hub.needs:  # who is refused by what the hub depends on is refused by the hub
            instance = hub.hub.__new__(hub.hub)
            instance._scene = scene
            async with Opened(scene, self.settings.drain_timeout) as opened:
                await _construct(hub, instance, opened)
                return await call_anywhere(getattr(hub.hub, moment), instance, *args)
        try:
            instance = self._make(hub.hub)
        except Exception:
            id, extra = scene.connection.id, scene.connection.log_extra
            _logger.exception("a %s could not be made for %s of connection %s", hub.name, moment, id, extra=extra)
            return ()
        instance._scene = scene
        return await call_anywhere(getattr(hub.hub, moment), instance, *args)


def _limits(settings: Settings) -> bool:
    return bool(settings.max_call_rate) or settings.max_argument_size is not None


def shown(text: str) -> str:
    """As it may stand in a log, whatever a client wrote: on one line, and not for long."""
    return repr(text if len(text) <= 300 else f"{text[:300]}…")[1:-1]


def _maker(factory: Factory | None) -> Callable[[type[Hub[Any]]], Hub[Any]]:
    """How to make an instance of a hub: by its class, or by a factory that is given the class if it takes something."""
    if factory is None:
        return lambda hub: hub()
    try:
        inspect.signature(factory).bind(Hub)
    except TypeError:
        return lambda hub: factory()
    return factory


async def _construct(hub: DescribedHub, instance: Hub[Any], opened: Opened) -> None:
    """Its filters have seen the instance, so only now it is filled."""
    if hub.needs:
        hub.hub.__init__(instance, **await opened.give(hub.needs))


async def _begin(
    hub: DescribedHub,
    method: DescribedMethod,
    instance: Hub[Any],
    opened: Opened,
    arguments: Sequence[Any],
    named: Mapping[str, Any],
) -> Any:
    """Call a method with what it and its hub depend on."""
    await _construct(hub, instance, opened)
    known, more = method.signature.complete(arguments, await opened.give(method.signature.needs))
    return await call_anywhere(method.function, instance, *known, **more, **named)
