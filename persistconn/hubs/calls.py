"""What is said between hubs and their clients, in no wire's words."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["Call", "ClientCall", "Failure", "Outcome", "ProgressReport", "encode", "encode_foreign"]


class Call(msgspec.Struct, frozen=True, gc=False):
    """A client calls a method of a hub."""

    hub: str
    method: str
    arguments: list[msgspec.Raw]
    id: str | None
    """Names the answer; None: the client wants none."""
    state: bytes | None = None
    """The state it keeps for this hub, as JSON."""
    may_be_deep: bool = True
    """There are enough brackets for lists and objects to be nested deeper than they may."""


class Failure(msgspec.Struct, frozen=True, gc=False):
    """Why a call has failed, as the client is told."""

    message: str
    deliberate: bool = False
    """The hub said so on purpose (HubError)."""
    data: Any = None


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What became of a call."""

    id: str
    result: Any = None
    state: dict[str, Any] | None = None
    """What the hub has changed of it."""
    failure: Failure | None = None


class ProgressReport(msgspec.Struct, frozen=True, gc=False):
    """How far a call has come."""

    id: str
    value: Any


class ClientCall(msgspec.Struct, frozen=True, gc=False):
    """The hub calls a function of a client."""

    hub: str
    method: str
    arguments: tuple[Any, ...]
    state: dict[str, Any] | None = None


def encode_foreign(value: Any) -> Any:
    """What msgspec can encode, for a value that it cannot: models of pydantic, without importing it."""
    dump = getattr(value, "model_dump", None)
    if dump is None or isinstance(value, type):
        raise TypeError(f"{type(value).__name__} has no JSON form")
    return dump(mode="json", by_alias=True)


encode = msgspec.json.Encoder(enc_hook=encode_foreign).encode
"""A value as JSON. Raises TypeError for what has no JSON form."""
