"""What readers of JSON on both dialects have to look at before or after a decoder: lone surrogates, and depth."""

from __future__ import annotations

import re
from typing import AnyStr, Final

__all__ = ["is_too_deep", "without_lone_surrogates"]

_LONE_PATTERN: Final = r"\\\\|\\u[dD][89aAbB]HH\\u[dD][c-fC-F]HH|\\u[dD][89a-fA-F]HH".replace("H", "[0-9a-fA-F]")
_LONE: Final = re.compile(_LONE_PATTERN)
_LONE_BYTES: Final = re.compile(_LONE_PATTERN.encode())
_ALIKE: Final = bytes.maketrans(b"{}", b"[]")
_THE_REST: Final = bytes(set(range(256)) - set(b'[]{}"'))


def without_lone_surrogates(text: AnyStr) -> AnyStr:
    r"""Half of a pair stands for no character, but JSON.stringify writes it: U+FFFD, as in a WHATWG USVString.

    >>> without_lone_surrogates(r'"\ud83d\ude00 \ud83d"')
    '"\\ud83d\\ude00 \\ufffd"'
    >>> without_lone_surrogates(rb'"\ud83d"')
    b'"\\ufffd"'
    """
    if isinstance(text, bytes):
        if b"\\ud" not in text and b"\\uD" not in text:
            return text
        return _LONE_BYTES.sub(lambda found: rb"\ufffd" if len(found[0]) == 6 else found[0], text)
    if "\\ud" not in text and "\\uD" not in text:
        return text
    return _LONE.sub(lambda found: r"\ufffd" if len(found[0]) == 6 else found[0], text)


def is_too_deep(json: bytes, most: int) -> bool:
    """Lists and objects are nested deeper than `most` levels in JSON that is well formed.

    >>> is_too_deep(b'{"a": [1, "[[["]}', 2), is_too_deep(b'{"a": [1, "[[["]}', 1)
    (False, True)
    """
    if json.count(b"[") + json.count(b"{") <= most:
        return False
    if b"\\" in json:
        json = json.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = json.translate(_ALIKE, _THE_REST).replace(b'""', b"")
    if b'"' in brackets:  # some brackets are within strings
        brackets = b"".join(json.split(b'"')[::2]).translate(_ALIKE, _THE_REST)
    for _ in range(most):  # each turn takes the innermost level off
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)
