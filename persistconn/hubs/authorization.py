"""Who may use a hub: the rules that `@authorize` puts on hubs and methods."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, overload

from persistconn import ConfigurationError, Request

__all__ = ["Policy", "RolesOf", "Rule", "authorize", "granted", "rules_of"]

_logger = logging.getLogger("persistconn.hubs")

Policy: TypeAlias = Callable[[Request], "bool | Awaitable[bool]"]
RolesOf: TypeAlias = Callable[[Request], Collection[str]]
Guarded = TypeVar("Guarded", bound=Callable[..., Any])

_RULES = "__persistconn_rules__"


@dataclass(frozen=True, slots=True)
class Rule:
    """What one `@authorize` asks for."""

    roles: frozenset[str] | None = None
    policy: Policy | None = None
    calls_only: bool = False

    async def allows(self, request: Request, roles_of: RolesOf) -> bool:
        """Whoever makes this request may."""
        if request.user is None:
            return False
        if self.roles is not None and self.roles.isdisjoint(roles_of(request)):
            return False
        if self.policy is None:
            return True
        allowed = self.policy(request)
        return bool(await allowed if inspect.isawaitable(allowed) else allowed)


@overload
def authorize(guarded: Guarded, /) -> Guarded: ...
@overload
def authorize(
    *, roles: Iterable[str] | None = None, policy: Policy | None = None, calls_only: bool = False
) -> Callable[[Guarded], Guarded]: ...
def authorize(
    guarded: Guarded | None = None,
    /,
    *,
    roles: Iterable[str] | None = None,
    policy: Policy | None = None,
    calls_only: bool = False,
) -> Guarded | Callable[[Guarded], Guarded]:
    """Let only authenticated users connect to a hub and call its methods, or call one method.

    `roles`: those who have one of these, says the `roles` function that `add_hubs` was given, or else Starlette's
    AuthenticationMiddleware around the app. `policy`: those whose request it returns True for. `calls_only`, on a
    hub: anybody may connect and be called, but not call. Several rules must all be met; a hub has those of the hubs
    it inherits from, a method those of what it overrides.

    >>> from persistconn.hubs import Hub, authorize
    >>> @authorize
    ... class Accounts(Hub):
    ...     @authorize(roles=["admin"])
    ...     async def delete(self, name: str) -> None: ...
    """
    if isinstance(roles, str):
        raise ConfigurationError(f"roles is {roles!r}: it must be a list of names")
    rule = Rule(None if roles is None else frozenset(roles), policy, calls_only)

    def guard(guarded: Guarded) -> Guarded:
        given: object = guarded
        if calls_only and not isinstance(given, type):
            raise ConfigurationError(f"calls_only is for hubs, and {guarded.__name__} is a method")
        setattr(guarded, _RULES, (*vars(guarded).get(_RULES, ()), rule))
        return guarded

    return guard if guarded is None else guard(guarded)


def granted(request: Request) -> Collection[str]:
    """The roles that a framework around us has given: the scopes of Starlette's AuthenticationMiddleware.

    >>> from types import SimpleNamespace
    >>> granted(Request("GET", "/chat", scope={"auth": SimpleNamespace(scopes=["editor"])}))
    ['editor']
    """
    scopes = getattr(request.scope.get("auth"), "scopes", None)
    if isinstance(scopes, list | tuple | set | frozenset):
        return scopes
    _logger.warning("nobody tells who has which role, so nobody has any: give add_hubs a function, roles=…")
    return ()


def rules_of(guarded: Any) -> Sequence[Rule]:
    """The rules of a hub class, inherited ones too, or of a method."""
    classes = guarded.__mro__ if isinstance(guarded, type) else (guarded,)
    return [rule for one in classes for rule in vars(one).get(_RULES, ())]
