"""A payload, encoded once per format however many read it, and a post: a payload with its place."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Any, Final

import msgspec

__all__ = ["POST_OVERHEAD", "Payload", "Post"]

POST_OVERHEAD: Final = 128
"""Bytes a post costs beside its payload, counted in every budget."""


def _escape(error: UnicodeError) -> tuple[str, int]:
    """Non-ASCII becomes JSON's own escapes, as UTF-16 pairs beyond the basic plane (RFC 8259 §7)."""
    assert isinstance(error, UnicodeEncodeError)
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2)), error.end


_encode: Final = msgspec.json.Encoder().encode
codecs.register_error("persistconn.json", _escape)


class Payload:
    """Something to send, in JSON at once and in any other format when first asked for.

    The JSON is ASCII: the .NET client decodes its streams piecewise and would break a character on
    the border of two pieces. Everything msgspec can encode may be sent: dataclasses, attrs, msgspec
    Structs, dates, UUIDs, enums, dicts, lists, numbers, text, bytes (as base64).

    Raises TypeError where it is made, thus in the sender's own code, for a value that cannot be encoded.

    >>> Payload({"price": "5 €"}).json
    b'{"price":"5 \\\\u20ac"}'
    """

    __slots__ = ("_formats", "json", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self.json = encoded = _encode(value)
        if not encoded.isascii():
            self.json = encoded.decode().encode("ascii", "persistconn.json")
        self._formats: dict[str, bytes] | None = None

    @classmethod
    def of_json(cls, json: bytes) -> Payload:
        """A payload of JSON that is ready. It must be ASCII and is embedded as it is.

        >>> Payload.of_json(b'{"a": 1}').json
        b'{"a": 1}'
        """
        if not json.isascii():
            raise ValueError("JSON for the wire must be ASCII; escape other characters as \\uXXXX")
        payload = cls.__new__(cls)
        payload.value = msgspec.Raw(json)
        payload.json = json
        payload._formats = None
        return payload

    def encoded(self, format: str, encoder: Callable[[Any], bytes]) -> bytes:
        """The bytes in `format`, made by `encoder` the first time and remembered.

        >>> Payload([1]).encoded("repr", lambda value: repr(value).encode())
        b'[1]'
        """
        if self._formats is None:
            self._formats = {}
        made = self._formats.get(format)
        if made is None:
            made = self._formats[format] = encoder(self.value)
        return made

    def __repr__(self) -> str:
        return f"Payload({self.value!r})"


class Post(msgspec.Struct, eq=False, gc=False, frozen=True):
    """A payload at its position in a topic."""

    position: int
    payload: Payload
    exclude: frozenset[str] | None
    size: int
    """Of the payload's JSON and this, in bytes."""
    time: float

    def __repr__(self) -> str:
        return f"<Post {self.position}>"
