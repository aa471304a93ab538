"""What no client sends: what hubs and their methods depend on, made for a call and closed when the call is over."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Final, get_origin, get_type_hints

from persistconn import ConfigurationError, PersistconnError, Request

from .hub import HubContext
from .opened import Opened, Source, call_anywhere, in_threads

__all__ = ["Depends", "Mark", "hints_of", "mark_of", "source_of", "sources_of"]

_VARIADIC: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Mark:
    """What `Depends` gives."""

    dependency: Callable[..., Any]
    use_cache: bool = True


def Depends(dependency: Callable[..., Any], use_cache: bool = True) -> Any:
    """Mark a parameter of a hub's method or constructor: no client sends it, it is what `dependency` gives.

    A dependency is a function, a class, or a generator that yields once and goes on when the call is over; each as
    `async def` or plain, and what is plain runs in a worker thread. Its own parameters are marked as well, annotated
    with `Request` or `HubContext` (or Starlette's `HTTPConnection`, `Request`, `WebSocket`), or have a default. It is
    called once for a call of a client, whoever depends on it, unless `use_cache` is False. FastAPI's `Depends` is
    the same here.

    >>> from typing import Annotated
    >>> from persistconn.hubs import Depends, Hub
    >>> class Stock(dict[str, int]): ...
    >>> async def get_stock() -> Stock:
    ...     return Stock(apples=3)
    >>> class Shop(Hub):
    ...     async def left(self, what: str, stock: Annotated[Stock, Depends(get_stock)]) -> int:
    ...         return stock[what]
    """
    if not callable(dependency):
        raise ConfigurationError(f"Depends takes a function or a class, and {dependency!r} is neither")
    return Mark(dependency, use_cache)


# Before any call --------------------------------------------------------------------------------


def mark_of(annotation: Any, default: Any) -> Mark | None:
    """How a parameter is marked: by us, or by anything of that shape, as FastAPI's and fast-depends' marks are."""
    for given in (default, *_metadata(annotation)):
        if not isinstance(given, type) and hasattr(given, "dependency") and hasattr(given, "use_cache"):
            dependency = _bare(annotation) if given.dependency is None else given.dependency  # FastAPI: `Depends()`
            if callable(dependency):
                return Mark(dependency, given.use_cache)
    return None


def source_of(mark: Mark, trail: tuple[Any, ...] = ()) -> Source:
    """How to get what a parameter is marked with. Raises ConfigurationError for what can never work."""
    provider = _Provider(mark.dependency, trail)
    return provider.shared if mark.use_cache else provider.fresh


def sources_of(function: Callable[..., Any], trail: tuple[Any, ...] = ()) -> dict[str, Source]:
    """The same for the parameters of a function or a class; what is left out has a default."""
    named = " → ".join(_name(one) for one in (*trail, function))
    if function in trail:
        raise ConfigurationError(f"{named} depends on itself: break the circle")
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:  # of some built-in types
        return {}
    sources: dict[str, Source] = {}
    hints = hints_of(_annotated(function), f"{named}: ") if parameters else {}
    for name, parameter in parameters.items():
        annotation = hints.get(name, parameter.annotation)
        mark = mark_of(annotation, parameter.default)
        source = _known(_bare(annotation)) if mark is None else source_of(mark, (*trail, function))
        is_routes = any(_package(type(one)) == "fastapi" for one in (parameter.default, *_metadata(annotation)))
        if source is not None:
            if parameter.kind is parameter.POSITIONAL_ONLY:
                raise ConfigurationError(f"{named}: parameter {name} must not stand before /")
            sources[name] = source
        elif is_routes or (parameter.default is parameter.empty and parameter.kind not in _VARIADIC):
            why = "is read from the request of a route" if is_routes else "has no default"
            raise ConfigurationError(
                f"{named}: parameter {name} {why}: mark it with Depends, annotate it as persistconn.Request or "
                "HubContext and read it from there, or give it a default"
            )
    return sources


def hints_of(function: Any, where: str = "") -> dict[str, Any]:
    """The types of its parameters. Raises ConfigurationError."""
    try:
        return get_type_hints(function, include_extras=True)
    except Exception as error:  # whatever its annotations do
        raise ConfigurationError(
            f"{where}the types of its parameters cannot be found: {error}; "
            "they must be names of the module, at run time"
        ) from None


def _known(annotation: Any) -> Source | None:
    if annotation is Request:
        return _request
    if annotation is HubContext:
        return _context
    if isinstance(annotation, type):
        kinds = {one.__name__ for one in annotation.__mro__ if _package(one) == "starlette"}
        if "HTTPConnection" in kinds:
            return partial(_of_starlette, annotation, kinds)
    return None


def _metadata(annotation: Any) -> tuple[Any, ...]:
    annotation = getattr(annotation, "__value__", annotation)  # type Stocked = Annotated[…]
    return annotation.__metadata__ if get_origin(annotation) is Annotated else ()


def _bare(annotation: Any) -> Any:
    annotation = getattr(annotation, "__value__", annotation)
    return annotation.__origin__ if get_origin(annotation) is Annotated else annotation


def _package(type: type[Any]) -> str:
    return type.__module__.partition(".")[0]


def _inner(function: Any) -> Any:
    while isinstance(function, partial):
        function = function.func
    return function


def _annotated(function: Any) -> Any:
    function = _inner(function)
    return function.__init__ if isinstance(function, type) else _called(function)  # type: ignore[misc]  # its own


def _called(function: Any) -> Any:
    plain = isinstance(function, type | partial) or inspect.isroutine(function)
    return function if plain else function.__call__


def _name(function: Any) -> str:
    return getattr(_inner(function), "__qualname__", None) or repr(function)


# During a call ----------------------------------------------------------------------------------


class _Provider:
    """A dependency, and where its own parameters come from."""

    __slots__ = ("_call", "_key", "_manager", "_sources")

    def __init__(self, function: Callable[..., Any], trail: tuple[Any, ...]) -> None:
        self._sources = sources_of(function, trail)
        self._key = function if isinstance(function, Hashable) else id(function)
        self._call = call = _called(function)
        self._manager: Callable[..., Any] | None = None
        if inspect.isasyncgenfunction(call):
            self._manager = asynccontextmanager(call)
        elif inspect.isgeneratorfunction(call):
            self._manager = partial(in_threads, contextmanager(call))

    async def shared(self, opened: Opened) -> Any:
        if self._key not in opened.found:
            opened.found[self._key] = await self.fresh(opened)
        return opened.found[self._key]

    async def fresh(self, opened: Opened) -> Any:
        given = await opened.give(self._sources)
        if self._manager is None:
            return await call_anywhere(self._call, **given)
        manager = self._manager(**given)
        value = await manager.__aenter__()
        opened.exits.append(manager.__aexit__)
        return value


async def _request(opened: Opened) -> Request:
    return opened.scene.context.request


async def _context(opened: Opened) -> HubContext:
    return opened.scene.context


async def _of_starlette(kind: type[Any], kinds: set[str], opened: Opened) -> Any:
    """A view of the request of the caller's transport, whichever kind that is; its body and its messages are ours."""
    scope = opened.scene.context.request.scope
    if not scope:
        raise PersistconnError(
            f"a dependency takes Starlette's {kind.__name__}, which is made of an ASGI scope, and this server has "
            "none: annotate persistconn.Request, which is there on every server"
        )
    if "WebSocket" in kinds:
        return kind({**scope, "type": "websocket"}, _ours, _ours)
    return kind({"method": "GET", **scope, "type": "http"} if "Request" in kinds else {**scope})


async def _ours(*_: Any) -> None:
    raise PersistconnError("persistconn reads and writes this WebSocket: send with self.clients, or connection.send")
