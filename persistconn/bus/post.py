"""A payload, encoded once per format however many read it, and a post: a payload with its place."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping
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
    """ASCII only, as classic clients get it. A Payload makes it of the value, unless it is given."""
    forms: Mapping[str, Callable[[Any], bytes]] | None = None
    """How to make other forms of the value, by the name of the format."""
    made: dict[str, bytes] | None = None
    """What `form` has made."""
    numbered: bool = True
    """It counts where messages are numbered (stateful reconnect); what belongs to the wire itself does not."""

    def form(self, name: str) -> bytes:
        """The bytes for readers of a format, made the first time and remembered.

        `raw` is text in UTF-8, bytes as they are, and JSON of anything else. Every other one is what `forms` makes.
        Where there is nothing to make it of, it is the JSON.

        >>> Payload("5 €").form("raw") == "5 €".encode(), Payload([1]).form("raw")
        (True, b'[1]')
        """
        if self.made is not None and name in self.made:
            return self.made[name]
        make = None if self.forms is None else self.forms.get(name)
        if make is None and name != "raw":
            return self.json
        form = _raw(self) if make is None else make(self.value)
        self.made = {name: form} if self.made is None else {**self.made, name: form}
        return form

    def __repr__(self) -> str:
        return f"Payload({self.value!r})"


def _raw(payload: Encoded) -> bytes:
    match payload.value:
        case str(text):
            return text.encode("utf-8", "surrogatepass")
        case bytes() | bytearray() | memoryview() as data:
            return bytes(data)
        case _:
            return payload.json


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

    @classmethod
    def of_forms(cls, value: Any, forms: Mapping[str, Callable[[Any], bytes]], json: bytes) -> Payload:
        """A payload whose forms are known: `json`, in UTF-8, for classic clients, and `forms[name](value)`.

        A form is made in the midst of sending, when the first reader of its format is served: it must not fail.

        >>> Payload.of_forms([1], {"lines": lambda value: b"%d\\n" % len(value)}, b"[1]").form("lines")
        b'1\\n'
        """
        payload = cls.of_json(json, value)
        payload.forms = forms
        return payload

    @staticmethod
    def of_frame(frame: bytes, *, numbered: bool = True) -> Encoded:
        """Bytes that are ready, for one connection whose format is known: every form is this.

        >>> Payload.of_frame(b"{}\\x1e").form("json")
        b'{}\\x1e'
        """
        return Encoded(frame, frame, None, None, numbered)


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
