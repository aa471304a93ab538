"""Where a client connects: a path, and the hubs that are there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .. import App, ConfigurationError
from ..hubs import Hub
from ..hubs.hub import name_given_to
from .dialing import Refused

__all__ = ["Address"]


class Address:
    """What `Client(app, path, hub=…)` means.

    On ASP.NET Core a hub's name is a part of the path; on classic it is told apart from it. Either is understood.
    """

    def __init__(self, app: App, path: str, hub: str | type[Hub[Any]] | None, dialect: str) -> None:
        if not isinstance(app, App):
            raise ConfigurationError(
                f"app is a {type(app).__name__}: give a persistconn.App, of a framework's application the App that is "
                "mounted in it, and the path that it has there"
            )
        if not path.startswith("/"):
            raise ConfigurationError(f"path is {path!r}: it must begin with /")
        self.path = path.rstrip("/")
        """Where it connects."""
        self.hint = ""
        """What is wrong with it, if there is nothing."""
        self.hubs: list[str] = []
        """The hubs that it is a client of; none: it is a client of a PersistentConnection."""
        mounted = {mount: hubs.names for mount, hubs in app._hubs.items()}
        parent, _, last = self.path.rpartition("/")
        if self.path not in mounted and parent in mounted and hub is None:
            self.path, hub = parent, last
        if hub is not None:
            self.hubs = [_name(hub)]
        else:
            self.hubs = list(mounted.get(self.path, ()))
        known = mounted.get(self.path, ())
        self.hubs = [next((one for one in known if one.lower() == name.lower()), name) for name in self.hubs]
        if self.path not in (route.path for route in app._routes):
            paths = ", ".join(route.path or "/" for route in app._routes)
            self.hint = (
                f"the app has mounted nothing at {self.path or '/'}, but at {paths}" if paths else "the app is empty"
            )
        elif not {*self.hubs} <= {*known}:
            self.hint = (
                f"no {self.hubs[0]!r} is among the hubs at {self.path}: {', '.join(sorted(known)) or 'there are none'}"
            )
        if dialect == "aspnetcore" and self.hubs:
            if len(self.hubs) > 1:
                raise ConfigurationError(
                    f"there are several hubs at {self.path!r} ({', '.join(self.hubs)}), and a client of ASP.NET Core "
                    "has one: say which, with hub=…"
                )
            self.path += f"/{self.hubs[0]}"

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Who is refused because there is nothing here is told what there is."""
        try:
            yield
        except Refused as refused:
            if self.hint:
                refused.add_note(self.hint)
            raise

    def hub_named(self, name: str | type[Hub[Any]] | None) -> str:
        """One of the hubs, as the server spells it. Raises ConfigurationError."""
        if name is None:
            if len(self.hubs) == 1:
                return self.hubs[0]
            raise ConfigurationError(f"there are several hubs: client.hub(name), one of {', '.join(self.hubs)}")
        wanted = _name(name).lower()
        for hub in self.hubs:
            if hub.lower() == wanted:
                return hub
        raise ConfigurationError(f"{_name(name)!r} is not among the hubs of this client: {', '.join(self.hubs)}")


def _name(hub: str | type[Hub[Any]]) -> str:
    if isinstance(hub, str):
        return hub
    given = name_given_to(hub)
    return hub.__name__ if given is None else given
