"""Reads the form in the body of a request (application/x-www-form-urlencoded)."""

from __future__ import annotations

import re
from binascii import a2b_qp
from typing import Final
from urllib.parse import unquote_to_bytes

from ..errors import RemoteProtocolError

__all__ = ["read_form"]


def read_form(body: bytes) -> dict[str, str]:
    """The first value of each field of a form, whatever its Content-Type says: clients say anything or nothing.

    Raises RemoteProtocolError for what is not UTF-8.

    >>> read_form(b"data=a+%7Bb%7D&x=1&data=2")
    {'data': 'a {b}', 'x': '1'}
    """
    try:
        if not body.isascii():
            body.decode()  # an escape must not complete a character that is broken in the body
        fields: dict[str, str] = {}
        for field in body.split(b"&"):
            name, _, value = field.partition(b"=")
            key = name.decode() if name.isalnum() else _unescaped(name)
            text = _unescaped(value)
            if key not in fields:
                fields[key] = text
    except UnicodeDecodeError:
        raise RemoteProtocolError("The form in the body is not valid UTF-8.") from None
    return fields


_NO_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def _unescaped(text: bytes) -> str:
    """Text of a form; raises UnicodeDecodeError.

    Where each % begins an escape, this is quoted-printable with another letter, and for that there is C: 1.4 us
    instead of 7 for 90 bytes of JSON.
    """
    if b"%" not in text:
        return text.decode().replace("+", " ")
    text = text.replace(b"+", b" ")
    if _NO_ESCAPE.search(text):
        return unquote_to_bytes(text).decode()
    return a2b_qp(text.replace(b"=", b"=3D").replace(b"%", b"=")).decode()
