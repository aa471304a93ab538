"""What polling clients of ASP.NET Core are told after the end of their connection, and for how long."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

__all__ = ["LastWords"]

_MOST_BYTES: Final = 16_777_216
"""Of all that is kept. Those whose words are dropped learn only that their connection is not known."""


class _Word(NamedTuple):
    whose: tuple[str, str, str]
    until: float
    rest: bytes | None


class LastWords:
    """The next poll gets what was said before the end, the one after it learns of the end, each once.

    `whose` is who may ask beside knowing the key: a route, a place and a user.

    >>> words = LastWords(most=100, lifetime=30.0)
    >>> words.leave(b"key", ("/echo", "", ""), b"bye", now=0.0)
    >>> [words.take(b"key", ("/echo", "", ""), now=1.0) for _ in range(3)]
    [b'bye', b'', None]
    """

    def __init__(self, *, most: int, lifetime: float) -> None:
        self._most = most
        self._lifetime = lifetime
        self._words: OrderedDict[bytes, _Word] = OrderedDict()
        self._bytes = 0

    def leave(self, key: bytes, whose: tuple[str, str, str], rest: bytes, now: float) -> None:
        """A connection has ended; its client has not been told `rest`, nor of the end."""
        self._words[key] = _Word(whose, now + self._lifetime, rest or None)
        self._bytes += len(rest)
        while len(self._words) > 1:
            oldest, word = next(iter(self._words.items()))
            if len(self._words) <= self._most and self._bytes <= _MOST_BYTES and word.until > now:
                break
            self._drop(oldest)

    def take(self, key: bytes, whose: tuple[str, str, str], now: float) -> bytes | None:
        """What a poll gets; empty: that it is over. None: nothing is known of this connection."""
        word = self._words.get(key)
        if word is None or word.whose != whose or word.until <= now:
            return None
        if word.rest is None:
            self._drop(key)
            return b""
        self._bytes -= len(word.rest)
        self._words[key] = word._replace(rest=None)
        return word.rest

    def _drop(self, key: bytes) -> None:
        self._bytes -= len(self._words.pop(key).rest or b"")
