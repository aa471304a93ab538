"""Hub messages on the classic wire: `{H,M,A,I,S}` and the hubs a client names (classic §8)."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from persistconn import RemoteProtocolError

from . import json_text
from .calls import Call, ClientCall, Outcome, ProgressReport, encode
from .json_text import without_lone_surrogates

__all__ = [
    "DEPTH",
    "is_too_deep",
    "read_call",
    "read_hub_names",
    "write_client_call",
    "write_outcome",
    "write_progress",
]

DEPTH: Final = 20
"""Levels of lists and objects in one argument, and in state, as the genuine server allows."""


class _Invocation(msgspec.Struct):
    H: str
    M: str
    A: list[msgspec.Raw] | None = None
    I: str | int | float | None = None  # noqa: E741  # the wire's own names
    S: msgspec.Raw = msgspec.Raw(b"null")


class _Result(msgspec.Struct, omit_defaults=True):
    S: dict[str, Any] | None = None
    R: Any = None
    I: str | None = None  # noqa: E741
    H: bool = False
    E: str | None = None
    D: Any = None


class _Report(msgspec.Struct):
    I: str  # noqa: E741
    D: Any


class _Progress(msgspec.Struct):
    I: str  # noqa: E741
    P: _Report


class _ClientCall(msgspec.Struct, omit_defaults=True):
    H: str
    M: str
    A: tuple[Any, ...]
    S: dict[str, Any] | None = None


_decode_invocation: Final = msgspec.json.Decoder(_Invocation).decode


def read_call(text: str | bytes) -> Call:
    """The call in a message (classic §8.3). RemoteProtocolError, status 500 as the genuine server, if there is none.

    >>> call = read_call('{"H":"chat","M":"Send","A":["hi"],"I":0}')
    >>> call.hub, call.method, [bytes(one) for one in call.arguments], call.id
    ('chat', 'Send', [b'"hi"'], '0')
    """
    try:
        text = without_lone_surrogates(text if isinstance(text, str) else text.decode())
        said = _decode_invocation(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise RemoteProtocolError(f"This is no call of a hub's method: {_reason(error)}.", status=500) from None
    id = said.I
    return Call(
        said.H,
        said.M,
        said.A or [],
        id if id is None or isinstance(id, str) else str(id),
        None if (state := bytes(said.S)) == b"null" else state,
        text.count("[") + text.count("{") > DEPTH,
    )


def _reason(error: Exception) -> str:
    return "it is nested too deep" if isinstance(error, RecursionError) else str(error)


def read_hub_names(connection_data: str | None) -> tuple[str, ...]:
    """The hubs a client names, as it spells them (classic §8.2). RemoteProtocolError, status 500, for anything else.

    >>> read_hub_names('[{"name":"chathub"},{"Name":"Board"}]'), read_hub_names("")
    (('chathub', 'Board'), ())
    """
    if not connection_data:
        return ()
    try:
        named = msgspec.json.decode(connection_data, type=list[dict[str, Any]] | None)
        return tuple([_name_in(one) for one in named or ()])
    except (msgspec.DecodeError, UnicodeError, RecursionError, KeyError):
        raise RemoteProtocolError('connectionData must be a list of {"name": hub}.', status=500) from None


def _name_in(named: dict[str, Any]) -> str:
    for key, value in named.items():
        if key.lower() == "name" and isinstance(value, str):
            return value
    raise KeyError("name")


def write_outcome(outcome: Outcome) -> bytes:
    """The answer to a call (classic §8.4). Raises TypeError for a result without a JSON form.

    >>> write_outcome(Outcome("1", 42)), write_outcome(Outcome("2"))
    (b'{"R":42,"I":"1"}', b'{"I":"2"}')
    """
    failure = outcome.failure
    if failure is None:
        return encode(_Result(outcome.state or None, outcome.result, outcome.id))
    data = failure.data if failure.deliberate else None
    return encode(_Result(outcome.state or None, None, outcome.id, failure.deliberate, failure.message, data))


def write_progress(report: ProgressReport) -> bytes:
    """How far a call has come (classic §8.5); old clients find no call of the outer id, and look away.

    >>> write_progress(ProgressReport("4", 40))
    b'{"I":"P|4","P":{"I":"4","D":40}}'
    """
    return encode(_Progress(f"P|{report.id}", _Report(report.id, report.value)))


def write_client_call(call: ClientCall) -> bytes:
    """A call of a client's function (classic §8.8).

    >>> write_client_call(ClientCall("ChatHub", "addMessage", ("ann", "hi")))
    b'{"H":"ChatHub","M":"addMessage","A":["ann","hi"]}'
    """
    return encode(_ClientCall(call.hub, call.method, call.arguments, call.state or None))


def is_too_deep(json: bytes) -> bool:
    """Lists and objects are nested deeper than `DEPTH` in JSON that is well formed.

    >>> is_too_deep(b'{"a": [1, "[[["]}'), is_too_deep(b"[" * 30 + b"]" * 30)
    (False, True)
    """
    return json_text.is_too_deep(json, DEPTH)
