"""Which streams, uploads and results of one connection are under way, by id (ASP.NET Core hub protocol §4.4, §7)."""

from __future__ import annotations

from collections.abc import Iterable

from .messages import Cancel, Completion, Invocation, StreamItem
from .stages import Event, UploadEnd

__all__ = ["Ids"]


class Ids:
    """The ids in use. What comes for any other is late, and dropped without a word.

    A client counts its calls and its uploads together, and we count our own calls of it: `s1`, `s2`, …

    >>> from msgspec import Raw
    >>> ids = Ids()
    >>> ids.admit(Invocation("Sum", [], "2", stream_ids=("1",)))
    True
    >>> ids.place(StreamItem("1", Raw(b"5"))) is not None, ids.place(StreamItem("9", Raw(b"5"))) is not None
    (True, False)
    >>> ids.place(Completion("1"))
    UploadEnd(id='1', error=None)
    """

    __slots__ = ("_count", "_results", "_streams", "_uploads")

    def __init__(self) -> None:
        self._streams: set[str] = set()
        self._uploads: set[str] = set()
        self._results: set[str] = set()
        self._count = 0

    # What comes ---------------------------------------------------------------------------------

    def admit(self, call: Invocation) -> bool:
        """Take note of a call; False if it wants a stream, and an earlier one of its id has not ended (§4.6).

        Its uploads are known from here on, since their items may follow at once.
        """
        if call.is_stream and call.id is not None:
            if call.id in self._streams:
                return False
            self._streams.add(call.id)
        self._uploads.update(call.stream_ids)
        return True

    def place(self, message: StreamItem | Completion | Cancel) -> Event | None:
        """What it means here; None: nothing, for its id is not in use. A completion ends an upload, or else a call."""
        id = message.id
        match message:
            case StreamItem():
                return message if id in self._uploads else None
            case Cancel():
                return message if id in self._streams else None
        if id in self._uploads:
            self._uploads.discard(id)
            return UploadEnd(id, message.error)
        if id in self._results:
            self._results.discard(id)
            return message
        return None

    # What we do ---------------------------------------------------------------------------------

    def expect_result(self) -> str:
        """An id for a call of a client's method that has a result (§7.6).

        >>> ids = Ids()
        >>> ids.expect_result(), ids.expect_result()
        ('s1', 's2')
        """
        self._count += 1
        id = f"s{self._count}"
        self._results.add(id)
        return id

    def forget_result(self, id: str) -> None:
        """Nobody waits for this result any more."""
        self._results.discard(id)

    def end_stream(self, id: str) -> None:
        """The Completion of a stream is on its way: its id is free again."""
        self._streams.discard(id)

    def end_uploads(self, ids: Iterable[str]) -> None:
        """The method that reads them has ended, or was never run (§7.5)."""
        self._uploads.difference_update(ids)
