"""A client's half of an ASP.NET Core connection: events out of a stream, frames, and what it has not seen acknowledged.

By the specification (Stateful reconnect), not by our own hub modules, so that the two halves check each other.
"""

from __future__ import annotations

import json
from collections import deque
from typing import Any

__all__ = ["RECORD_SEPARATOR", "Events", "Ledger", "frames_of", "invocation", "number_of", "numbers_of"]

RECORD_SEPARATOR = b"\x1e"


def frames_of(unit: bytes) -> list[Any]:
    r"""The values in what a transport brought at once. ValueError: a frame is not whole.

    >>> frames_of(b'1\x1e{"type":6}\x1e')
    [1, {'type': 6}]
    """
    *frames, rest = unit.split(RECORD_SEPARATOR)
    if rest:
        raise ValueError(f"a frame is not whole: {rest!r}")
    return [json.loads(frame) for frame in frames]


def invocation(argument: str) -> bytes:
    """A call, as hub clients write it."""
    return b'{"type":1,"target":"say","arguments":["%b"]}\x1e' % argument.encode()


def number_of(argument: Any) -> int:
    """The publication that a message is."""
    number = argument[0] if type(argument) is list else argument
    assert type(number) is int
    return number


def numbers_of(unit: bytes) -> list[int]:
    r"""The publications in what a transport brings at once, in the hub protocol or without.

    >>> numbers_of(b'1\x1e[2,"xx"]\x1e{"type":1,"target":"take","arguments":[3]}\x1e{"type":6}\x1e')
    [1, 2, 3]
    """
    numbers = []
    for frame in frames_of(unit):
        if not isinstance(frame, dict):
            numbers.append(number_of(frame))
        elif frame.get("type") == 1:
            numbers.append(number_of(frame["arguments"][0]))
    return numbers


class Events:
    r"""The data of server-sent events in bytes cut anywhere; as strict as .NET clients before version 10.

    >>> events = Events()
    >>> events.feed(b":\r\ndata: 1\x1e\r"), events.feed(b"\n\r\n")
    ([], [b'1\x1e'])
    """

    __slots__ = ("_data", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, data: bytes) -> list[bytes]:
        """The events that these bytes complete. ValueError for a line that old clients throw on."""
        found: list[bytes] = []
        *lines, self._rest = (self._rest + data).split(b"\r\n")
        for line in lines:
            if line.startswith(b"data: "):
                self._data.append(line[6:])
            elif not line:
                if self._data:
                    found.append(b"\n".join(self._data))
                self._data = []
            elif line[:1] != b":":
                raise ValueError(f"no line of an event: {line!r}")
        return found


class Ledger:
    """Stateful reconnect as the TypeScript client keeps it.

    >>> ledger = Ledger()
    >>> ledger.keep(b"a"), ledger.keep(b"b"), ledger.acknowledge(1)
    (None, None, None)
    >>> ledger.resume()
    (2, [b'b'])
    >>> [ledger.take(), ledger.resynchronize(1), ledger.take(), ledger.take()]
    [True, True, False, True]
    """

    __slots__ = ("_latest", "_next", "_sent", "_total")

    def __init__(self) -> None:
        self._total = 0
        self._sent: deque[tuple[int, bytes]] = deque()
        self._next = 1
        self._latest = 0

    @property
    def waiting(self) -> int:
        """So many frames are not acknowledged."""
        return len(self._sent)

    @property
    def latest(self) -> int:
        """The highest number that came."""
        return self._latest

    def keep(self, frame: bytes) -> None:
        """Number what we send."""
        self._total += 1
        self._sent.append((self._total, frame))

    def acknowledge(self, number: int) -> None:
        """An Ack came."""
        while self._sent and self._sent[0][0] <= number:
            self._sent.popleft()

    def resume(self) -> tuple[int, list[bytes]]:
        """The number of the first frame that follows, and the frames to repeat."""
        return (self._sent[0][0] if self._sent else self._total + 1), [frame for _, frame in self._sent]

    def take(self) -> bool:
        """A numbered message came; False: for the second time."""
        number, self._next = self._next, self._next + 1
        if number <= self._latest:
            return False
        self._latest = number
        return True

    def resynchronize(self, number: int) -> bool:
        """A Sequence came; False: what lies between is lost."""
        if number > self._latest + 1:
            return False
        self._next = number
        return True

    def __repr__(self) -> str:
        return f"<Ledger {self._total} sent, {self._latest} received>"
