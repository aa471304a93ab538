"""Whom a hub calls, `clients` and `groups`: every way of saying "these clients, but not those"."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Iterable
from functools import lru_cache, partial
from typing import Any, Generic, Protocol, TypeAlias, overload

from typing_extensions import TypeVar

from persistconn import Connection, PersistconnError

from .names import camel_case

__all__ = ["AnyClient", "Audience", "CallerClients", "ClientProxy", "HubClients", "HubGroups", "Nothing", "PageT"]

Nothing: TypeAlias = Coroutine[Any, Any, None]
Address: TypeAlias = Callable[[str, tuple[Any, ...]], Nothing]
Ask: TypeAlias = Callable[[str, tuple[Any, ...], Any, "float | None"], Coroutine[Any, Any, Any]]
"""Name, arguments, the type of the result, and how long to wait for it."""

_spelt = lru_cache(1_024)(camel_case)
R = TypeVar("R")


class ClientProxy(Protocol):
    """One or many clients, on which functions of theirs are called.

    Subclass it to let type checkers know a page, and give it to the hub as `Hub[Page]`:

    >>> from typing import Protocol
    >>> from persistconn.hubs import ClientProxy, Hub
    >>> class Page(ClientProxy, Protocol):
    ...     async def alert_message(self, text: str) -> None: ...
    >>> class Alarm(Hub[Page]):
    ...     async def ring(self) -> None:
    ...         await self.clients.all.alert_message("fire")
    """

    def send(self, name: str, /, *arguments: Any) -> Nothing:
        """Call `name`, spelt exactly so. To one client it waits as `connection.send` does, else for nobody."""
        ...

    @overload
    def invoke(
        self, name: str, /, *arguments: Any, returns: type[R], timeout: float | None = None
    ) -> Coroutine[Any, Any, R]: ...
    @overload
    def invoke(
        self, name: str, /, *arguments: Any, returns: Any = ..., timeout: float | None = None
    ) -> Coroutine[Any, Any, Any]: ...
    def invoke(
        self, name: str, /, *arguments: Any, returns: Any = Any, timeout: float | None = None
    ) -> Coroutine[Any, Any, Any]:
        """Call `name` on one client, `caller` or `client(id)`, and wait for what it returns, read as `returns`.

        Nothing but `timeout` (seconds) ends the wait for a client that stays and does not answer: TimeoutError.
        HubError: the client failed, or what it returned is no `returns`. ConnectionClosed: it is not there, or goes.
        PersistconnError: clients of the classic wire cannot return values. While it waits, the next call of the
        same client may run, whatever `max_parallel_calls` says.
        """
        ...


class AnyClient(ClientProxy, Protocol):
    """A client of which nothing is known: every attribute is a function of it, in camelCase over there.

    `clients.all.alert_message("fire")` calls `alertMessage`.
    """

    def __getattr__(self, name: str, /) -> Callable[..., Nothing]: ...


PageT = TypeVar("PageT", bound=ClientProxy, default=AnyClient)


class Recipients:
    """What `AnyClient` and every typed page are at run time."""

    __slots__ = ("_address", "_ask")

    def __init__(self, address: Address, ask: Ask | None = None) -> None:
        self._address = address
        self._ask = ask

    def send(self, name: str, /, *arguments: Any) -> Nothing:
        """See ClientProxy."""
        return self._address(name, arguments)

    def invoke(
        self, name: str, /, *arguments: Any, returns: Any = Any, timeout: float | None = None
    ) -> Coroutine[Any, Any, Any]:
        """See ClientProxy."""
        if self._ask is None:
            raise PersistconnError(
                f"{name} was to return a value, and only one client can be asked: client(id), caller"
            )
        return self._ask(name, arguments, returns, timeout)

    def __getattr__(self, name: str) -> Callable[..., Nothing]:
        if name.startswith("_"):
            raise AttributeError(name)
        address, spelt = self._address, _spelt(name)

        def call(*arguments: Any, **named: Any) -> Nothing:
            if named:
                raise TypeError(f"{name}: a page takes arguments by position, and {', '.join(named)} came by name")
            return address(spelt, arguments)

        return call


class Audience(Protocol):
    """Who brings calls to clients, for one hub; the dispatcher gives one to each hub."""

    def to_all(self, method: str, arguments: tuple[Any, ...], exclude: Collection[str]) -> Nothing:
        """To every client that named this hub."""
        ...

    def to_group(self, name: str, method: str, arguments: tuple[Any, ...], exclude: Collection[str]) -> Nothing:
        """To the members of a group of this hub."""
        ...

    def to_user(self, name: str, method: str, arguments: tuple[Any, ...]) -> Nothing:
        """To every connection of a user."""
        ...

    def to_clients(self, ids: Collection[str], method: str, arguments: tuple[Any, ...]) -> Nothing:
        """To single connections."""
        ...

    def ask(
        self, id: str, method: str, arguments: tuple[Any, ...], returns: Any, timeout: float | None
    ) -> Coroutine[Any, Any, Any]:
        """Call one client and give what it returns; see `ClientProxy.invoke`."""
        ...

    def join(self, connection_id: str, name: str) -> Nothing:
        """Put a connection into a group of this hub."""
        ...

    def leave(self, connection_id: str, name: str) -> Nothing:
        """Take it out."""
        ...


class HubClients(Generic[PageT]):
    """The clients of a hub, from anywhere: `app.clients(MyHub)`."""

    __slots__ = ("_audience",)

    def __init__(self, audience: Audience) -> None:
        self._audience = audience

    @property
    def all(self) -> PageT:
        """Every client that uses this hub."""
        return self.all_except(())

    def all_except(self, ids: Iterable[str | Connection]) -> PageT:
        """All but some."""
        to, exclude = self._audience.to_all, _ids(ids)
        page: PageT = _page(lambda method, arguments: to(method, arguments, exclude))
        return page

    def client(self, id: str) -> PageT:
        """One client, by its connection id. An unknown id is no error."""
        to, known = self._audience.to_clients, [_named(id, "a connection id")]
        page: PageT = _page(lambda method, arguments: to(known, method, arguments), partial(self._ask, id))
        return page

    def _ask(
        self, id: str, method: str, arguments: tuple[Any, ...], returns: Any, timeout: float | None
    ) -> Coroutine[Any, Any, Any]:
        return self._audience.ask(id, method, arguments, returns, timeout)

    def client_list(self, ids: Iterable[str | Connection]) -> PageT:
        """Several, by id."""
        to, known = self._audience.to_clients, _ids(ids)
        page: PageT = _page(lambda method, arguments: to(known, method, arguments))
        return page

    def group(self, name: str, exclude: Iterable[str | Connection] = ()) -> PageT:
        """The members of a group, but those in `exclude`."""
        to, without = self._audience.to_group, _ids(exclude)
        _named(name, "a group")
        page: PageT = _page(lambda method, arguments: to(name, method, arguments, without))
        return page

    def groups(self, names: Iterable[str]) -> PageT:
        """The members of several groups; who is in two of them is called twice."""
        to = self._audience.to_group
        page: PageT = _many(names, "a group", lambda name, method, arguments: to(name, method, arguments, ()))
        return page

    def user(self, name: str) -> PageT:
        """Every connection of a user."""
        return self.users([name])

    def users(self, names: Iterable[str]) -> PageT:
        """Every connection of several users."""
        page: PageT = _many(names, "a user", self._audience.to_user)
        return page


class CallerClients(HubClients[PageT]):
    """The clients of a hub as one of its calls sees them: `self.clients`."""

    __slots__ = ("_asking", "_caller", "_caller_id")

    def __init__(
        self, audience: Audience, caller_id: str, caller: Address, asking: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(audience)
        self._caller_id = caller_id
        self._caller = caller
        self._asking = asking
        """Told before a client is asked for a result: it may object, or see that the client can answer."""

    @property
    def caller(self) -> PageT:
        """Who has made this call."""
        page: PageT = _page(self._caller, partial(self._ask, self._caller_id))
        return page

    @property
    def others(self) -> PageT:
        """All but the caller."""
        return self.all_except([self._caller_id])

    def others_in_group(self, name: str) -> PageT:
        """The members of a group, but the caller."""
        return self.group(name, exclude=[self._caller_id])

    def _ask(
        self, id: str, method: str, arguments: tuple[Any, ...], returns: Any, timeout: float | None
    ) -> Coroutine[Any, Any, Any]:
        self._asking()
        return super()._ask(id, method, arguments, returns, timeout)


class HubGroups:
    """The groups of a hub. They need not be declared, and end with their last member."""

    __slots__ = ("_audience",)

    def __init__(self, audience: Audience) -> None:
        self._audience = audience

    def join(self, connection_id: str, name: str) -> Nothing:
        """From now on this connection is called when the group is. Twice is once; reconnecting changes nothing."""
        return self._audience.join(_named(connection_id, "a connection id"), _named(name, "a group"))

    def leave(self, connection_id: str, name: str) -> Nothing:
        """It is not any more."""
        return self._audience.leave(_named(connection_id, "a connection id"), _named(name, "a group"))


def _page(address: Address, ask: Ask | None = None) -> Any:
    return Recipients(address, ask)


def _many(names: Iterable[str], what: str, to: Callable[[str, str, tuple[Any, ...]], Nothing]) -> Any:
    if isinstance(names, str):
        raise ValueError(f"{names!r} is one name: give a list of them")
    known = [_named(name, what) for name in names]

    def address(method: str, arguments: tuple[Any, ...]) -> Nothing:
        return _one_by_one([to(name, method, arguments) for name in known])  # made at once: they may complain

    return _page(address)


async def _one_by_one(calls: Iterable[Nothing]) -> None:
    for call in calls:
        await call


def _named(name: str, what: str) -> str:
    if not isinstance(name, str) or not name:
        raise ValueError(f"{name!r} is no name of {what}")
    return name


def _ids(ids: Iterable[str | Connection]) -> frozenset[str]:
    if isinstance(ids, str):
        raise ValueError(f"{ids!r} is one id: give a list of them")
    return frozenset(one.id if isinstance(one, Connection) else _named(one, "a connection id") for one in ids)
