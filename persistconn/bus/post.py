"""A payload, encoded once per format however many read it, and a post: a payload with its place."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Any, Final

import msgspec

__all__ = ["POST_OVERHEAD", "Encoded", "Payload", "Post", "encode"]

POST_OVERHEAD: Final = 128
"""Bytes a post costs beside its payload, counted in every budget."""


def _escape(error: UnicodeError) -> tuple[str, int]:
    """Non-ASCII becomes JSON's own escapes, as UTF-16 pairs beyond the basic plane (RFC 8259 §7)."""
    assert isinstance(error, UnicodeEncodeError)
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2)), error.end


encode: Final = msgspec.json.Encoder().encode
"""A value as JSON, which may not be ASCII. Raises TypeError for what has no JSON form."""

codecs.register_error("persistconn.json", _escape)


class Encoded(msgspec.Struct, eq=False, gc=False):
    """A value and its JSON: what a Payload is, for those who have made the JSON themselves."""

    value: Any
    json: bytes = b""
    """ASCII only. A Payload makes it of the value, unless it is given."""
    formats: dict[str, bytes] | None = None
    """What `encoded` has made."""

    def encoded(self, format: str, encoder: Callable[[Any], bytes]) -> bytes:
        """The bytes in `format`, made by `encoder` the first time and remembered.

        >>> Payload([1]).encoded("repr", lambda value: repr(value).encode())
        b'[1]'
        """
        if self.formats is None:
            self.formats = {}
        made = self.formats.get(format)
        if made is None:
            made = self.formats[format] = encoder(self.value)
        return made

    def __repr__(self) -> str:
        return f"Payload({self.value!r})"


class Payload(Encoded, eq=False, gc=False):
    """Something to send, in JSON at once and in any other format when first asked for.

    The JSON is ASCII: the .NET client decodes its streams piecewise and would break a character on
    the border of two pieces. Everything msgspec can encode may be sent: dataclasses, attrs, msgspec
    Structs, dates, UUIDs, enums, dicts, lists, numbers, text, bytes (as base64).

    Raises TypeError where it is made, thus in the sender's own code, for a value that cannot be encoded.

    >>> Payload({"price": "5 €"}).json
    b'{"price":"5 \\\\u20ac"}'
    """

    def __post_init__(self) -> None:
        if not self.json:
            self.json = encoded = encode(self.value)
            if not encoded.isascii():
                self.json = encoded.decode().encode("ascii", "persistconn.json")

    @classmethod
    def of_json(cls, json: bytes, value: Any = None) -> Payload:
        """A payload of JSON that is ready, in UTF-8; `value` is what other formats are made of.

        >>> Payload.of_json(b'{"a": 1}').json
        b'{"a": 1}'
        """
        if not json.isascii():
            json = json.decode().encode("ascii", "persistconn.json")
        return cls(msgspec.Raw(json) if value is None else value, json)


class Post(msgspec.Struct, eq=False, gc=False, frozen=True):
    """A payload at its position in a topic."""

    position: int
    payload: Encoded
    exclude: frozenset[str] | None
    size: int
    """Of the payload's JSON and this, in bytes."""
    time: float

    def __repr__(self) -> str:
        return f"<Post {self.position}>"
