"""Functions around every call of a hub's method: to log, to measure, to check, to replace a result or an error."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from .hub import Hub, HubContext

__all__ = ["Filter", "HubCall", "Proceed", "through"]


@dataclass(slots=True)
class HubCall:
    """A call of a hub's method, as its filters see it."""

    hub: Hub[Any]
    """The instance that serves it. If its constructor depends on something, that has not run before `proceed`."""
    method: str
    """The name of the method on the wire."""
    arguments: list[Any]
    """What the method is called with, converted to the types of its parameters; may be changed."""
    context: HubContext
    """Who has made it."""


class Proceed(Protocol):
    """Goes on with a call: gives what the method returns, or raises what it raises."""

    def __call__(self, call: HubCall | None = None, /) -> Awaitable[Any]:
        """The call may be left out; it is the same."""
        ...


Filter: TypeAlias = Callable[[HubCall, Proceed], Awaitable[object]]
"""`async def f(call, proceed)`: what it returns is the result of the call, `await proceed()` goes on.

::

    async def measured(call: HubCall, proceed: Proceed) -> object:
        began = anyio.current_time()
        try:
            return await proceed()
        finally:
            print(call.method, anyio.current_time() - began)
"""


async def through(
    filters: Sequence[Filter], call: HubCall, run: Callable[..., Awaitable[Any]], named: Mapping[str, Any]
) -> Any:
    """Run a call inside its filters, the first of them outermost."""

    async def go_on(at: int) -> Any:
        if at == len(filters):
            return await run(*call.arguments, **named)

        def proceed(_: HubCall | None = None, /) -> Awaitable[Any]:
            return go_on(at + 1)

        return await filters[at](call, proceed)

    return await go_on(0)
