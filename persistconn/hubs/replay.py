"""Stateful reconnect: what is numbered, kept until it is acknowledged, and told apart from what came before (§6)."""

from __future__ import annotations

from collections import deque

__all__ = ["REPLAY_BYTES", "Replay"]

REPLAY_BYTES = 100_000
"""Frames may wait for an Ack up to this many bytes, as on .NET (StatefulReconnectBufferSize); then senders wait."""


class Replay:
    """Both directions of one connection (hub protocol §6.2). Tracked messages count from 1 in each; no number travels.

    >>> replay = Replay()
    >>> replay.keep(b"first"), replay.keep(b"second")
    (1, 2)
    >>> replay.acknowledge(1)
    >>> replay.resume()
    (2, (b'second',))
    >>> [replay.take(), replay.take(), replay.resynchronize(2), replay.take(), replay.take()]
    [True, True, True, False, True]
    """

    __slots__ = ("_expected", "_frames", "_most", "_told", "buffered", "latest", "total")

    def __init__(self, most: int = REPLAY_BYTES) -> None:
        self._frames: deque[bytes] = deque()
        self._most = most
        self.buffered = 0
        """Bytes of the frames that are not acknowledged."""
        self.total = 0
        """The number of the last tracked frame that we sent."""
        self._expected = 1
        """The number of the next tracked message from the peer."""
        self.latest = 0
        """The highest number from the peer that has been dealt with."""
        self._told = 0

    # What we send -------------------------------------------------------------------------------

    def keep(self, frame: bytes) -> int:
        """Number a frame and keep it until it is acknowledged."""
        self._frames.append(frame)
        self.buffered += len(frame)
        self.total += 1
        return self.total

    @property
    def is_full(self) -> bool:
        """Nothing more should be sent until the peer has acknowledged some of it (§6.4)."""
        return self.buffered > self._most

    def acknowledge(self, sequence: int) -> None:
        """Forget the frames up to this one. An old number changes nothing, one too high forgets them all."""
        oldest = self.total - len(self._frames) + 1
        for _ in range(min(sequence, self.total) - oldest + 1):
            self.buffered -= len(self._frames.popleft())

    def resume(self) -> tuple[int, tuple[bytes, ...]]:
        """What begins a new socket: the number of the first frame that follows, and the frames to repeat (§6.6)."""
        return self.total - len(self._frames) + 1, tuple(self._frames)

    # What comes ---------------------------------------------------------------------------------

    def take(self) -> bool:
        """A tracked message has come; False: it came before and must not be dealt with again."""
        number = self._expected
        self._expected += 1
        if number <= self.latest:
            self._told = 0  # or it would not come again: the Ack was lost
            return False
        self.latest = number
        return True

    def resynchronize(self, sequence: int) -> bool:
        """The next message has this number; False: those between have been lost, which is the end.

        Only what has never come is lost. (The genuine server compares with the number it expects, which lags behind
        while messages are repeated, so that a second cut at that moment ends the connection.)
        """
        if sequence > self.latest + 1:
            return False
        self._expected = sequence
        return True

    @property
    def owes_ack(self) -> bool:
        """Messages have come that the peer has not been told of."""
        return self.latest > self._told

    def tell(self) -> int:
        """The number for an Ack that leaves now."""
        self._told = self.latest
        return self.latest
