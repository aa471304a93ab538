"""Hubs at a path of an app: the connection they share, the script, and the way to their clients from outside."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache
from typing import Any

from persistconn import App, ConfigurationError, Request

from .clients import HubClients, HubGroups, PageT
from .described import DescribedHub, HubTable
from .dispatcher import Dispatcher
from .filters import Filter
from .hub import Hub
from .messagepack_values import Conventions
from .proxies import disabled_script, script

__all__ = ["MountedHubs", "mount_hubs"]


class MountedHubs:
    """What was mounted at one path."""

    def __init__(self, path: str, dispatcher: Dispatcher, *, javascript: bool) -> None:
        self.path = path
        self._dispatcher = dispatcher
        self._javascript = javascript
        self.script = lru_cache(64)(self._script)
        """The generated script, for a proxy that takes this off every path."""

    @property
    def names(self) -> Sequence[str]:
        """What the hubs are called on the wire."""
        return [hub.name for hub in self._dispatcher.table.hubs.values()]

    def has(self, hub: type[Hub[Any]]) -> bool:
        """It is mounted here."""
        return self._dispatcher.table.of(hub) is not None

    def calls(self) -> dict[str, tuple[int, int]]:
        """How many calls each hub has had, and how many failed."""
        return {hub.name: (hub.calls, hub.failed) for hub in self._dispatcher.table.hubs.values()}

    def clients(self, hub: type[Hub[PageT]]) -> HubClients[PageT]:
        """See `App.clients`."""
        return HubClients(self._dispatcher.stage(self._described(hub)))

    def groups(self, hub: type[Hub[Any]]) -> HubGroups:
        """See `App.hub_groups`."""
        return HubGroups(self._dispatcher.stage(self._described(hub)))

    def _described(self, hub: type[Hub[Any]]) -> DescribedHub:
        described = self._dispatcher.table.of(hub)
        if described is None:
            raise ConfigurationError(f"{hub!r} is not mounted at {self.path!r}")
        return described

    def _script(self, root_path: str) -> str:
        if not self._javascript:
            return disabled_script()
        return script(root_path + self.path, [hub.shape for hub in self._dispatcher.table.hubs.values()])


def mount_hubs(
    app: App,
    path: str,
    hubs: Sequence[type[Hub[Any]]],
    *,
    factory: Callable[..., Hub[Any]] | None,
    filters: Iterable[Filter],
    user_id: Callable[[Request], str | None] | None,
    roles: Callable[[Request], Collection[str]] | None,
    javascript: bool,
    messagepack: Conventions,
    dialects: Collection[str],
) -> MountedHubs:
    """Mount hub classes; see `App.add_hubs`."""
    table = HubTable(hubs)
    if "aspnetcore" in dialects:
        table.check_paths(path)
    dispatcher = Dispatcher(
        *(table, app.settings),
        factory=factory,
        filters=filters,
        user_id=user_id,
        roles=roles,
        messagepack=messagepack,
    )
    mounted = MountedHubs(path, dispatcher, javascript=javascript)
    if javascript:
        mounted.script("")  # so that a name which no script can hold fails here
    app.add_connection(path, dispatcher, dialects=dialects)
    for name in ("hubs", "js"):
        for end in ("", "/"):
            app.add_page(
                f"{path}/{name}{end}",
                lambda request: mounted.script(request.root_path).encode(),
                "application/javascript; charset=UTF-8",
            )
    return mounted
