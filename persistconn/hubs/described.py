"""What a hub class offers: its names, its methods with their signatures, and who may call them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from persistconn import ConfigurationError, RemoteProtocolError

from .authorization import Rule, rules_of
from .binding import Signature, is_stream
from .dependencies import sources_of
from .hub import Hub, name_given_to
from .names import HubShape, MethodShape, camel_case, spellings
from .opened import Source

__all__ = ["DescribedHub", "DescribedMethod", "HubTable", "MethodNotFound"]

_OF_EVERY_HUB: Final = frozenset(dir(Hub))
_TAKEN_PATHS: Final = frozenset("abort connect hubs js negotiate ping poll reconnect refresh send start".split())


class MethodNotFound(LookupError):
    """A client calls what a hub does not have, in the genuine server's words (classic §8.6)."""


class DescribedMethod:
    """One method that clients may call."""

    __slots__ = (
        "attribute",
        "function",
        "is_async",
        "is_direct",
        "is_plain",
        "is_stream",
        "name",
        "rules",
        "script_name",
        "signature",
        "spellings",
    )

    def __init__(self, hub: type[Hub[Any]], attribute: str, function: Callable[..., Any]) -> None:
        self.attribute = attribute
        self.function = function
        given = name_given_to(function)
        self.name = attribute if given is None else given
        self.script_name = camel_case(attribute) if given is None else given
        self.spellings = spellings(attribute) if given is None else (given.lower(),)
        self.signature = Signature(function)
        self.is_stream = inspect.isasyncgenfunction(function) or is_stream(self.signature.returns)
        self.is_async = inspect.iscoroutinefunction(function)
        overridden = [vars(one)[attribute] for one in hub.__mro__ if attribute in vars(one)]
        self.rules: Sequence[Rule] = [rule for method in overridden for rule in rules_of(method)]
        """Its own, and those of the methods that it overrides."""
        signature = self.signature
        self.is_direct = self.is_async and not (signature.progress or signature.needs)
        """It can be called with what the client sends, and nothing else."""
        self.is_plain = self.is_direct and not (
            self.rules or self.is_stream or signature.uploads or signature.most is None
        )
        """It takes some arguments and gives a value, and whoever may connect may call it."""


class DescribedHub:
    """A hub class, ready to be called."""

    # fmt: off
    __slots__ = (
        "calls", "calls_rules", "connect_rules", "failed", "hub", "methods", "name", "needs", "overrides", "plain",
        "script_name",
    )
    # fmt: on

    def __init__(self, hub: type[Hub[Any]]) -> None:
        self.hub = hub
        self.calls = self.failed = 0
        """How many there were since it was mounted, and how many of them failed."""
        self.needs: Mapping[str, Source] = {}
        """What its constructor depends on."""
        given = name_given_to(hub)
        self.name = hub.__name__ if given is None else given
        self.script_name = camel_case(hub.__name__) if given is None else given
        if not self.name or "." in self.name:
            raise ConfigurationError(f"The hub name '{self.name}' is invalid.")
        rules = rules_of(hub)
        self.connect_rules = [rule for rule in rules if not rule.calls_only]
        self.calls_rules = rules
        self.methods: dict[str, list[DescribedMethod]] = {}
        """By spelling, in lower case."""
        self.plain: dict[tuple[str, int], DescribedMethod] = {}
        """Plain methods that have been called, by name as the caller spelt it and number of arguments."""
        for attribute, function in _callable_methods(hub):
            self._add(attribute, function)
        moments = ("on_connected", "on_reconnected", "on_disconnected", "on_rejoining_groups")
        self.overrides = frozenset(name for name in moments if getattr(hub, name) is not getattr(Hub, name))
        """The moments in a connection's life that it wants to hear of."""

    def construct_by_class(self) -> None:
        """No factory makes its instances: find out what its constructor depends on. Raises ConfigurationError."""
        constructor: Any = self.hub.__init__
        try:
            self.needs = sources_of(partial(constructor, None))
        except ConfigurationError as error:
            raise ConfigurationError(f"{self.hub.__name__}: {error}; or let add_hubs(factory=…) make it") from None
        if self.needs and self.hub.__new__ is not object.__new__:
            raise ConfigurationError(
                f"{self.hub.__name__} is made by a __new__ of its own: dependencies go to __init__"
            )

    def _add(self, attribute: str, function: Callable[..., Any]) -> None:
        try:
            method = DescribedMethod(self.hub, attribute, function)
        except ConfigurationError as error:
            raise ConfigurationError(f"{self.hub.__name__}.{attribute}: {error}") from None
        for spelling in method.spellings:
            others = self.methods.setdefault(spelling, [])
            for other in others:
                if other.name != method.name or _overlap(other.signature, method.signature):
                    raise ConfigurationError(
                        f"{self.hub.__name__}: clients cannot tell {other.attribute} and {attribute} "
                        f"apart, as both are called {spelling!r}: rename one, give one another @method_name, or let "
                        "them take different numbers of arguments under one @method_name"
                    )
            others.append(method)

    def named(self, name: str) -> Sequence[DescribedMethod]:
        """The methods of this name, in any case."""
        return self.methods.get(name.lower(), ())

    def find(self, name: str, count: int) -> DescribedMethod:
        """The method of this name, in any case, that takes so many arguments. Raises MethodNotFound."""
        candidates = self.named(name)
        for method in candidates:
            if method.signature.takes(count):
                return method
        for method in candidates:
            if method.signature.uploads:  # a stream came as an argument: whoever calls it can say better what is wrong
                return method
        problem = f"'{name}' method could not be resolved."
        if not candidates:
            raise MethodNotFound(f"{problem} No method found with that name.")
        lines = "".join(f"\n{method.name}{method.signature}" for method in candidates)
        raise MethodNotFound(f"{problem} Potential candidates are: {lines}")

    @property
    def shape(self) -> HubShape:
        """What the generated script says of it."""
        methods: dict[str, DescribedMethod] = {}
        for overloads in self.methods.values():
            simplest = min(overloads, key=lambda one: len(one.signature.parameters))
            methods[simplest.name] = simplest
        return HubShape(
            self.name,
            self.script_name,
            tuple(
                MethodShape(
                    one.script_name, one.script_name, tuple(camel_case(p.name) for p in one.signature.parameters)
                )
                for one in sorted(methods.values(), key=lambda one: one.script_name)
            ),
        )


def _callable_methods(hub: type[Hub[Any]]) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Public instance methods, inherited ones included, but nothing that every hub or object has."""
    for name in dir(hub):
        if name.startswith("_") or name in _OF_EVERY_HUB:
            continue
        function = inspect.getattr_static(hub, name)
        if inspect.isfunction(function):
            yield name, function


def _overlap(one: Signature, other: Signature) -> bool:
    most = min(count for count in (one.most, other.most, 1_000_000) if count is not None)
    return max(one.least, other.least) <= most


class HubTable:
    """The hubs of one mount."""

    def __init__(self, hubs: Iterable[type[Hub[Any]]]) -> None:
        self.hubs: dict[str, DescribedHub] = {}
        """By name, in lower case, in the order they were given."""
        for hub in hubs:
            given: object = hub
            if not (isinstance(given, type) and issubclass(given, Hub)):
                raise ConfigurationError(
                    f"{given!r} is no subclass of Hub: give the classes one by one, add_hubs(path, A, B), not instances"
                )
            described = DescribedHub(hub)
            if described.name.lower() in self.hubs:
                raise ConfigurationError(
                    f"two hubs are called {described.name!r}, whatever the case: give one a @hub_name"
                )
            self.hubs[described.name.lower()] = described
        if not self.hubs:
            raise ConfigurationError("add_hubs needs at least one hub class")

    def check_paths(self, path: str) -> None:
        """For clients that ask for a hub by its path: raises ConfigurationError if something else is there."""
        for hub in self.hubs.values():
            if hub.name.lower() in _TAKEN_PATHS:
                raise ConfigurationError(
                    f"the hub {hub.name!r} would be asked for at {path}/{hub.name}, where something else is: give it "
                    "another name with @hub_name, or mount it for classic clients only"
                )

    def find(self, name: str) -> DescribedHub:
        """The hub of this name, in any case. RemoteProtocolError (status 500, as over there) if there is none."""
        hub = self.hubs.get(name.lower())
        if hub is None:
            raise RemoteProtocolError(f"'{name[:100]}' Hub could not be resolved.", status=500)
        return hub

    def of(self, hub: type[Hub[Any]]) -> DescribedHub | None:
        """What is known about a class; None if it is not one of these."""
        return next((described for described in self.hubs.values() if described.hub is hub), None)
