"""What a channel asks of its kind of socket: six short methods, none of which waits."""

from __future__ import annotations

from abc import ABC, abstractmethod

__all__ = ["Stream"]


class Stream(ABC):
    """A connection's bytes, out. What comes in, it tells the `Channel` that is built on it.

    It calls `data_received`, `eof_received`, `write_ready` and, exactly once and last, `connection_lost`.
    """

    __slots__ = ()

    @abstractmethod
    def write(self, data: bytes) -> bool:
        """Write without waiting, keeping what does not fit. True: nothing is left. Never raises."""

    @abstractmethod
    def unwritten(self) -> int:
        """Bytes that `write` has kept; when they have left, `write_ready` is called."""

    @abstractmethod
    def finish(self, *, linger: bool) -> None:
        """When all is written, close our half (and go on reading, if `linger` and it can), or the whole."""

    @abstractmethod
    def cut(self) -> None:
        """Reset the connection now; `connection_lost` follows, but not from inside this call."""

    @abstractmethod
    def pause_reading(self) -> None:
        """Take no more bytes from the peer."""

    @abstractmethod
    def resume_reading(self) -> None:
        """Go on taking bytes from the peer."""
