"""The first words of a hub connection on ASP.NET Core: which protocol, which version (hub protocol §3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from . import failures
from .aspnetcore_json import RECORD_SEPARATOR, write_json
from .messages import HubProtocol

__all__ = ["ACCEPTANCE", "NEWEST_VERSION", "Accepted", "Refused", "answer", "refusal"]

NEWEST_VERSION: Final = 2
"""Any version up to this one is accepted, and those below it have no stateful reconnect (§3.1, §6.1)."""
ACCEPTANCE: Final = b"{}" + RECORD_SEPARATOR


class Accepted(msgspec.Struct, frozen=True):
    """The client speaks this."""

    protocol: HubProtocol
    version: int


class Refused(msgspec.Struct, frozen=True):
    """It asked for what there is not, or for nothing that can be understood."""

    error: str


class _Request(msgspec.Struct, gc=False):
    protocol: str
    version: int


_decode: Final = msgspec.json.Decoder(_Request).decode


def answer(
    request: bytes | bytearray, protocols: Sequence[HubProtocol], *, binary: bool = True, detailed: bool = False
) -> Accepted | Refused:
    """What to say to a request, given without the byte 1E that ends it.

    `binary`: the transport can carry binary. `detailed`: say why a request cannot be understood.

    >>> from persistconn.hubs.aspnetcore_json import JsonProtocol
    >>> answer(b'{"protocol":"JSON","version":0,"more":[]}', [JsonProtocol()]).version
    0
    >>> answer(b'{"protocol":"json","version":9}', [JsonProtocol()]).error
    "The server does not support version 9 of the 'json' protocol."
    """
    try:
        asked = _decode(request)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        cause = failures.cause_of(str(error), "InvalidDataException", detailed=detailed)
        return Refused(failures.handshake_broken(cause))
    name = asked.protocol.lower()
    protocol = next((one for one in protocols if one.name == name), None)
    if protocol is None:
        return Refused(failures.protocol_unknown(asked.protocol))
    if asked.version > NEWEST_VERSION:
        return Refused(failures.version_unknown(asked.version, protocol.name))
    if protocol.format == "binary" and not binary:
        return Refused(failures.no_binary_here(protocol.name))
    return Accepted(protocol, asked.version)


def refusal(error: str) -> bytes:
    r"""The answer to a request that is refused (§3.2).

    >>> refusal("Handshake was canceled.")
    b'{"error":"Handshake was canceled."}\x1e'
    """
    return write_json({"error": error}) + RECORD_SEPARATOR
